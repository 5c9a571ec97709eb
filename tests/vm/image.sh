#!/bin/sh
# Builds target/vm/IMAGE/{vmlinux,initramfs.cpio}: a Debian kernel with nvme-cli and fio, for boot.sh.
#
#   image.sh 6.1|6.12|6.12-stas [DIRECTORY]
#
# 6.12-stas has nvme-stas as well, which finds and follows discovery services by itself, and what that
# needs: Python, D-Bus, udev.
#
# Packages come from the Debian mirror that this machine's own apt sources name, through a private
# apt configuration, and are unpacked, never installed. A second run finds its stamp and does
# nothing; remove the directory to get newer packages. Exit 2: cannot be done on this machine.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

kernel=${1:?usage: image.sh 6.1|6.12|6.12-stas [DIRECTORY]}
out=${2:-$here/../../target/vm}
case $kernel in
6.1) suite=bookworm ;;
6.12 | 6.12-stas) suite=trixie ;;
*) die "unknown image $kernel: 6.1, 6.12 and 6.12-stas are known" ;;
esac

programs="nvme fio mke2fs resize2fs kmod jq blkdiscard"
packages="busybox-static e2fsprogs fio jq kmod nvme-cli util-linux"
modules="virtio_pci virtio_net nvme_core nvme_fabrics nvme_tcp nvmet nvmet_tcp brd ext4
	crc32c_generic crc32c_intel"
stas_packages="nvme-stas avahi-daemon dbus-daemon udev"

# The base of the archive whose suite ($1) is in the machine's own sources, whatever their format.
mirror() {
	apt-get --print-uris update 2>/dev/null |
		sed -n "s|^'\(.*\)/dists/$1/InRelease'.*|\1|p" | head -n 1
}

# apt-get and apt-cache with nothing of the machine's but its transport settings (proxies).
private() {
	command=$1
	shift
	"$command" -qq \
		-o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" \
		-o Dir::Cache="$work/apt/cache" -o Dir::Etc::sourcelist="$work/apt/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o APT::Architecture=amd64 -o APT::Install-Recommends=false \
		-o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

fetch() {
	own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	archive=$(mirror "$own")
	security=$(mirror "$own-security")
	if [ -z "$archive" ] || [ -z "$security" ]; then
		cannot "this machine's apt sources name no Debian archive with its security updates"
	fi

	mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
	: >"$work/apt/status"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	printf 'deb [signed-by=%s] %s %s main\n' \
		"$keyring" "$archive" "$suite" "$keyring" "$security" "$suite-security" \
		>"$work/apt/sources.list"
	private apt-get -o APT::Update::Error-Mode=any update ||
		cannot "the Debian mirror does not answer"

	# The metapackage names the current kernel of this suite.
	image=$(private apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
	case $kernel in
	*-stas) packages="$packages $stas_packages" ;;
	esac
	# shellcheck disable=SC2086 # a list of words
	private apt-get --yes --download-only install $packages
	(cd "$work/apt/cache/archives" && private apt-get download "$image")
	version=${image#linux-image-}
}

# Merged /usr from the start, so that everything is in one place; tar, because dpkg -x would put
# directories where these links are.
unpack() {
	for directory in bin sbin lib lib64; do
		mkdir -p "$root/usr/$directory"
		ln -s "usr/$directory" "$root/$directory"
	done
	for deb in "$work"/apt/cache/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" >"$work/tar"
		tar -x -f "$work/tar" -C "$root" --keep-directory-symlink --exclude=./usr/share/doc
	done
}

# The bzImage's payload, unpacked here once rather than in the emulated machine at every boot.
# The header's offsets are in Linux Documentation/arch/x86/boot.rst.
extract_vmlinux() {
	bzimage=$root/boot/vmlinuz-$version
	number() { od -An -t"u$2" -j "$1" -N "$2" "$bzimage" | tr -d ' '; }
	start=$((($(number 497 1) + 1) * 512 + $(number 584 4)))
	# The last four bytes are the unpacked length, which is no part of the stream.
	length=$(($(number 588 4) - 4))
	tail -c "+$((start + 1))" "$bzimage" | head -c "$length" >"$work/payload"
	case $(od -An -tx1 -N4 "$work/payload" | tr -d ' ') in
	fd377a58) xz -dc "$work/payload" ;;
	28b52ffd) zstd -dcq "$work/payload" ;;
	*) die "$bzimage: unknown compression" ;;
	esac >"$result/vmlinux"
}

add_modules() {
	depmod -b "$root" "$version"
	mkdir -p "$initramfs/lib/modules/$version"
	for module in $modules; do
		modprobe -d "$root" -S "$version" --show-depends "$module"
	done >"$work/modules"
	sed -n 's/^insmod \([^ ]*\).*/\1/p' "$work/modules" | sort -u | while read -r file; do
		case $file in
		*.xz) xz -dc "$file" >"$initramfs/lib/modules/$version/$(basename "$file" .xz)" ;;
		*) cp "$file" "$initramfs/lib/modules/$version/" ;;
		esac
	done
	cp "$root/lib/modules/$version"/modules.builtin* "$root/lib/modules/$version/modules.order" \
		"$initramfs/lib/modules/$version/"
	depmod -b "$initramfs" "$version"
}

# Programs with the libraries that their own loader finds for them; busybox for everything else.
add_programs() {
	libraries=$root/usr/lib/x86_64-linux-gnu
	loader=$root/lib64/ld-linux-x86-64.so.2
	mkdir -p "$initramfs/usr/lib/x86_64-linux-gnu"
	for program in $programs; do
		file=$(find "$root/usr/bin" "$root/usr/sbin" -name "$program" | head -n 1)
		[ -n "$file" ] || die "no $program in the packages"
		cp -L "$file" "$initramfs/usr/bin/"
		"$loader" --inhibit-cache --library-path "$libraries:$libraries/ceph" --list "$file"
	done >"$work/libraries"
	sed -n "s|.*=> \(${root}[^ ]*\).*|\1|p" "$work/libraries" | sort -u | while read -r library; do
		cp -L "$library" "$initramfs/usr/lib/x86_64-linux-gnu/"
	done
	cp -L "$loader" "$initramfs/usr/lib64/"
	# The kernel asks for modules by /sbin/modprobe.
	ln -s ../bin/kmod "$initramfs/usr/sbin/modprobe"
	cp "$root/usr/bin/busybox" "$initramfs/usr/bin/"
}

# nvme-stas as it would be installed, for whoever starts its services without systemd. Python finds
# its libraries by itself, so all that there are go in.
add_stas() {
	(
		cd "$root"
		rm -rf usr/lib/x86_64-linux-gnu/gconv usr/lib/python3.*/test
		find etc/avahi etc/dbus-1 etc/stas etc/udev usr/bin/python3* usr/bin/stafctl usr/bin/stacctl \
			usr/bin/dbus-* usr/bin/udevadm usr/sbin/stafd usr/sbin/stacd usr/sbin/avahi-daemon \
			usr/lib/python3* usr/lib/systemd/systemd-udevd usr/lib/udev/rules.d \
			usr/lib/x86_64-linux-gnu usr/share/dbus-1 -not -type d |
			cpio --quiet -o -H newc
	) | (cd "$initramfs" && cpio --quiet -idu --make-directories)
	for user in root:0 messagebus:100 avahi:101; do
		echo "${user%:*}:x:${user#*:}:${user#*:}::/tmp:/usr/bin/sh" >>"$initramfs/etc/passwd"
		echo "${user%:*}:x:${user#*:}:" >>"$initramfs/etc/group"
	done
}

# Called for whatever ends the build: leaves no half-made image, and shows a failure's last words.
finish() {
	status=$?
	rm -rf "$work"
	[ "$status" -eq 0 ] || tail -n 20 "$log" >&3
}

build() {
	log=$out/$kernel.log
	echo "image.sh: building $out/$kernel (log: $log)" >&2
	work=$(mktemp -d "$out/.build.XXXXXX")
	exec 3>&2 4>&1 >"$log" 2>&1
	trap finish EXIT
	trap 'exit 1' INT TERM
	root=$work/root result=$work/result initramfs=$work/initramfs
	mkdir -p "$root" "$result"
	for directory in bin sbin lib lib64; do
		mkdir -p "$initramfs/usr/$directory"
		ln -s "usr/$directory" "$initramfs/$directory"
	done
	mkdir -p "$initramfs/proc" "$initramfs/sys" "$initramfs/dev" "$initramfs/etc" \
		"$initramfs/tmp" "$initramfs/run" "$initramfs/mnt"

	fetch
	unpack
	extract_vmlinux
	add_modules
	add_programs
	case $kernel in
	*-stas) add_stas ;;
	esac
	(cd "$initramfs" && find . | cpio --quiet -o -H newc -R 0:0) >"$result/initramfs.cpio"
	echo "$stamp" >"$result/stamp"
	rm -rf "${out:?}/$kernel"
	mv "$result" "$out/$kernel"
	exec 1>&4 2>&3
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
stamp=$(cksum <"$0")
# Also what the image will be used with: better said before the work than after it.
require_tools apt-get cpio depmod dpkg-deb flock modprobe xz zstd \
	ip qemu-system-x86_64 setpriv unshare
exec 9>"$out/.lock"
flock 9
[ "$(cat "$out/$kernel/stamp" 2>/dev/null)" = "$stamp" ] || build
echo "$out/$kernel"
