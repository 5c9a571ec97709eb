# shellcheck shell=sh disable=SC2034 # run.sh uses what is set here
# The machine's disk: an image obtained, checked, unpacked and cloned. Sourced by run.sh.
#
# What was given is never written to: the guest gets a clone, a ZFS one, a reflink or a qcow2 overlay
# where that costs nothing, else a copy. An image without a checksum is not used, because what boots
# here runs as root beside the tests' verdict.

# image_obtain IMAGE CHECKSUM DIRECTORY: sets $image to an unpacked, checked image (raw or qcow2).
# IMAGE is a path, a URL, or a ZFS volume below /dev/zvol; CHECKSUM its SHA256 or SHA512, or empty
# for the CHECKSUM.SHA512 or CHECKSUM.SHA256 beside it, as download.freebsd.org has them. DIRECTORY
# keeps what is downloaded and unpacked for the next run.
image_obtain() {
	checksum=$2 cache=$3
	case $1 in
	/dev/zvol/*)
		# Made here by somebody; there is no file whose checksum somebody published.
		[ -e "$1" ] || not_run "no image: $1 does not exist"
		image=$1
		return
		;;
	http://* | https://* | ftp://*) image_download "$1" ;;
	*)
		[ -e "$1" ] || not_run "no image: $1 does not exist"
		image=$1
		list=$(dirname "$1")
		;;
	esac
	if [ -z "$checksum" ]; then
		checksum=$(image_listed "$list" "$(basename "$image")") || exit
	fi
	image_check "$image" "$checksum"
	case $image in
	*.xz | *.zst | *.gz) image_unpack ;;
	esac
}

# image_download URL: sets $image, and $list to the directory where its CHECKSUM files are kept.
image_download() {
	list=$cache/$(printf '%s' "${1%/*}" | cksum | tr ' ' -)
	image=$list/${1##*/}
	mkdir -p "$list"
	if [ -z "$checksum" ]; then
		for name in CHECKSUM.SHA512 CHECKSUM.SHA256; do
			[ -s "$list/$name" ] || image_get "${1%/*}/$name" "$list/$name" || rm -f "$list/$name"
		done
	fi
	[ -s "$image" ] || image_get "$1" "$image" || not_run "no image: $1 cannot be downloaded"
}

# image_get URL FILE: FILE is there whole or not at all.
image_get() {
	say "downloading $1"
	if have fetch; then
		fetch -q -o "$2.part" "$1" >&2
	elif have curl; then
		curl -fsSL -o "$2.part" "$1" >&2
	elif have wget; then
		wget -q -O "$2.part" "$1" >&2
	else
		not_run "no image: fetch, curl or wget is needed for $1"
	fi && mv "$2.part" "$2"
}

# image_listed DIRECTORY NAME: the checksum that a CHECKSUM file there has for NAME, in BSD's form
# or GNU's.
image_listed() {
	for name in CHECKSUM.SHA512 CHECKSUM.SHA256; do
		[ -r "$1/$name" ] || continue
		awk -v name="$2" '
			$1 ~ /^SHA(256|512)$/ && $2 == "(" name ")" { print $4; found = 1; exit }
			$2 == name || $2 == "*" name { print $1; found = 1; exit }
			END { exit !found }
		' "$1/$name" && return
	done
	die "no checksum for $2: give --checksum, or put CHECKSUM.SHA512 beside the image"
}

# image_check FILE CHECKSUM
image_check() {
	wanted=$(printf '%s' "$2" | tr 'A-F' 'a-f')
	case ${#wanted} in
	64) bits=256 ;;
	128) bits=512 ;;
	*) die "a checksum has 64 digits (SHA256) or 128 (SHA512), not ${#wanted}" ;;
	esac
	if have "sha${bits}sum"; then
		found=$("sha${bits}sum" <"$1" | cut -d ' ' -f 1)
	elif have "sha$bits"; then
		found=$("sha$bits" -q "$1")
	else
		found=$(shasum -a "$bits" <"$1" | cut -d ' ' -f 1)
	fi
	[ "$found" = "$wanted" ] ||
		die "$1 is not what it should be: its SHA$bits is $found, not $wanted; remove it and get it again"
}

# image_unpack: $image becomes the unpacked file in $cache, which is there whole or not at all. Its
# name has the checksum of what it came from, so that it is never another image's.
image_unpack() {
	name=$(basename "$image")
	unpacked=$cache/$(printf '%.16s' "$checksum")-${name%.*}
	if [ ! -e "$unpacked" ]; then
		mkdir -p "$cache"
		say "unpacking $name"
		case $name in
		*.xz) xz -dc "$image" ;;
		*.zst) zstd -dcq "$image" ;;
		*.gz) gzip -dc "$image" ;;
		esac >"$unpacked.part" || {
			rm -f "$unpacked.part"
			die "$image cannot be unpacked"
		}
		mv "$unpacked.part" "$unpacked"
	fi
	image=$unpacked
}

# Raw unless its first bytes say otherwise: names are often wrong.
image_format() {
	case $(dd if="$1" bs=4 count=1 2>/dev/null | od -An -tx1 | tr -d ' \n') in
	514649fb) echo qcow2 ;;
	*) echo raw ;;
	esac
}

# image_clone IMAGE DIRECTORY HYPERVISOR: sets $disk, $format and $cloned (how, in a word).
image_clone() {
	format=$(image_format "$1")
	if [ "$3" = bhyve ] && [ "$format" = qcow2 ]; then
		die "bhyve takes raw images only: get the .raw.xz, or convert it with qemu-img"
	fi
	disk=$2/disk.$format
	case $1 in
	/dev/zvol/*)
		image_clone_zvol "${1#/dev/zvol/}"
		return
		;;
	esac
	if cp --reflink=always "$1" "$disk" 2>/dev/null; then
		cloned=reflink
	elif [ "$3" = qemu ] && have qemu-img &&
		qemu-img create -q -f qcow2 -F "$format" -b "$(realpath "$1")" "$2/disk.qcow2" >&2; then
		disk=$2/disk.qcow2 format=qcow2 cloned=overlay
	else
		# FreeBSD's cp clones blocks by itself where the file system can.
		cp "$1" "$disk" || die "$1 cannot be copied to $disk: a TMPDIR with more room helps"
		cloned=copy
	fi
	chmod u+w "$disk"
}

# image_clone_zvol VOLUME: a snapshot and a clone, which image_discard destroys.
image_clone_zvol() {
	snapshot=$1@nvmfd-vm-$$
	zfs snapshot "$snapshot" || die "$snapshot cannot be made"
	zvol=${1%/*}/nvmfd-vm-$$
	if ! zfs clone -o volmode=dev "$snapshot" "$zvol"; then
		zfs destroy "$snapshot"
		snapshot='' zvol=''
		die "$1 cannot be cloned"
	fi
	disk=/dev/zvol/$zvol format=raw cloned=zfs
	within 10 test -e "$disk" || die "$disk does not appear"
}

# What is outside the run's directory: nothing but ZFS clones.
image_discard() {
	[ -z "${zvol:-}" ] || zfs destroy "$zvol" || say "left behind: $zvol"
	[ -z "${snapshot:-}" ] || zfs destroy "$snapshot" || say "left behind: $snapshot"
	snapshot='' zvol=''
}
