# shellcheck shell=sh disable=SC2154 # one program with daemon.sh, host.sh, peer.sh
# A peer that says what no good host does: a Connect made byte by byte, sent with nc(1). Offsets are
# those of NVMe/TCP §3.6.2 and of the Fabrics Connect command.

zeros() {
	dd if=/dev/zero bs=1 count="$1" 2>/dev/null
}

# le BYTES NUMBER: little endian.
le() {
	number=$2 octets=$1
	while [ "$octets" -gt 0 ]; do
		# shellcheck disable=SC2059 # the format is the byte
		printf "\\$(printf %03o $((number % 256)))"
		number=$((number / 256)) octets=$((octets - 1))
	done
}

# hex DIGITS
hex() {
	# shellcheck disable=SC2046,SC2059 # a list of words; the format is the byte
	for octet in $(printf '%s' "$1" | sed 's/../& /g'); do
		printf "\\$(printf %03o "0x$octet")"
	done
}

# text SIZE TEXT: with zeros behind it.
text() {
	printf '%s' "$2"
	zeros $(($1 - ${#2}))
}

# The kernel's own host identifier: kern.hostuuid, as it lies in memory.
own_hostid() {
	sysctl -n kern.hostuuid | tr -d - |
		sed 's/^\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)\(..\)/\4\3\2\1\6\5\8\7/'
}

own_hostnqn() {
	echo "nqn.2014-08.org.nvmexpress:uuid:$(sysctl -n kern.hostuuid)"
}

# connect_pdus QID CNTLID HOSTID HOSTNQN: ICReq, and a Connect capsule with its data.
connect_pdus() {
	hex 0000800080000000 && zeros 120
	# The capsule's header: type 4, 72 bytes of header, data behind it, 1096 bytes in all.
	hex 0400484848040000
	# Connect, SGL, CID 1, FCTYPE 1; 1024 bytes in the capsule.
	hex 7f40 && le 2 1 && hex 01 && zeros 19
	zeros 8 && le 4 1024 && hex 00000001
	le 2 0 && le 2 "$1" && le 2 31 && zeros 2
	if [ "$1" = 0 ]; then le 4 120000; else le 4 0; fi
	zeros 12
	hex "$3" && le 2 "$2" && zeros 238
	text 256 "$nqn" && text 256 "$4" && zeros 256
}

# raw_connect QID CNTLID HOSTID HOSTNQN: "SCT SC IATTR IPO" of the answer, "none" if there is none.
# Success is "0 0" and the CNTLID.
raw_connect() {
	connect_pdus "$@" >request
	nc -w 5 127.0.0.1 "$port" <request >answer
	# Behind 128 bytes of ICResp: a response capsule of 24.
	od -An -v -tu1 -j 128 -N 24 answer 2>/dev/null | awk '
		{ for (i = 1; i <= NF; i++) byte[n++] = $i }
		END {
			if (n < 24 || byte[0] != 5) { print "none"; exit }
			status = int((byte[22] + 256 * byte[23]) / 2)
			ipo = byte[8] + 256 * byte[9]
			iattr = byte[10] % 2
			if (status == 0) print "0 0 " ipo
			else print int(status / 256) % 8, status % 256, iattr, ipo
		}'
}

# raw_refused "SCT SC IATTR IPO" QID CNTLID HOSTID HOSTNQN
raw_refused() {
	wanted=$1
	shift
	answered=$(raw_connect "$@")
	[ "$answered" = "$wanted" ] || atf_fail "a Connect with QID $1, CNTLID $2: answered '$answered', not '$wanted'"
}
