# What the packaging scripts share: names, versions and folders.

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
readonly target=${CARGO_TARGET_DIR:-$PWD/target}
readonly out=$target/packages
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
readonly version
readonly maintainer=${DEBFULLNAME:-The iperf developers}\ \<${DEBEMAIL:-iperf@users.noreply.github.com}\>
# The same sources give the same packages: files get the time of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH
umask 022
mkdir -p "$out"

fail() {
	printf '%s: %s\n' "$0" "$*" >&2
	exit 1
}

# Makes an empty folder that is gone when the script ends, and names it in the variable `root`.
make_root() {
	root=$(mktemp -d "$out/.root.XXXXXX")
	chmod 755 "$root"
	roots+=("$root")
}

roots=()
trap 'rm -rf "${roots[@]}"' EXIT

# Builds the program, optimised, unless BINARY names one that exists.
release_binary() {
	if [ -n "${BINARY:-}" ]; then
		[ -x "$BINARY" ] || fail "BINARY=$BINARY is not a program"
		return
	fi
	cargo build --quiet --locked --release --package iperf-cli
	BINARY=$target/release/iperf
}

# Files of Debian's documentation: compressed, without the time.
document() {
	gzip -9n <"$1" | install -D -m 644 /dev/stdin "$2"
}

# Writes Debian's changelog of PACKAGE: one entry, which points to the project's own.
debian_changelog() {
	printf '%s (%s) unstable; urgency=medium\n\n  * Release %s, see changelog.gz.\n\n -- %s  %s\n' \
		"$1" "$2" "$2" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# Packs the folder `root` as a .deb and names it.
pack() {
	local file=$out/$1_$2_$3.deb
	(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
	chmod 644 "$root/DEBIAN/md5sums"
	dpkg-deb --root-owner-group -Zxz --build "$root" "$file" >/dev/null
	printf '%s\n' "$file"
}
