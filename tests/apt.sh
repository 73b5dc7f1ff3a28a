# Debian's packages without installing any: a library for the scripts that fetch what the tests need.
#
#   . tests/apt.sh
#   apt_open DIRECTORY SUITE...        a private apt: its own sources, lists and cache, its own empty machine
#   apt_private ARGUMENT...            apt-get with it
#   apt_ask ARGUMENT...                apt-cache with it
#   fetch_program SUITE PACKAGE PROGRAM DIRECTORY
#
# Everything that comes from the archive is checked by apt against the keys of debian-archive-keyring. The mirror
# is the one that this machine's own apt uses.

apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
	printf '%s: %s\n' "$0" "$*" >&2
	exit 1
}

# Makes a directory that is gone when the script ends, and names it in the variable `scratch`.
make_scratch() {
	scratch=$(mktemp -d "$1.XXXXXX")
	scratches+=("$scratch")
}

scratches=()
trap 'rm -rf "${scratches[@]}"' EXIT

# The address of the archive that holds a suite of the kind of "$1": a release, or a release's security updates.
apt_mirror() {
	local release
	release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
	apt-get indextargets --no-release-info --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Identifier: Packages' |
		awk -v wanted="$release${1:-}" '$2 == "main" && $1 == wanted { print $3; exit }'
}

# Makes an apt of its own below DIRECTORY, which knows the SUITEs, and reads their lists.
apt_open() {
	local suite mirror
	mkdir -p "$1"
	apt_dir=$(cd "$1" && pwd)
	shift
	for tool in apt-get apt-cache dpkg dpkg-deb; do
		command -v "$tool" >/dev/null || fail "$tool is missing: the tests take programs from Debian's archive"
	done
	[ -r "$apt_keyring" ] || fail "$apt_keyring is missing: apt-get install debian-archive-keyring"
	mkdir -p "$apt_dir"/{etc/preferences.d,lists/partial,cache/archives/partial}
	: >"$apt_dir/status"
	: >"$apt_dir/etc/sources.list"
	for suite; do
		# The archive that serves this release's main component also has every other suite.
		case $suite in
		*-security) mirror=$(apt_mirror -security) ;;
		*) mirror=$(apt_mirror) ;;
		esac
		[ -n "$mirror" ] || fail "apt's sources name no archive from which $suite could come"
		printf 'deb [signed-by=%s] %s %s main\n' "$apt_keyring" "$mirror" "$suite" >>"$apt_dir/etc/sources.list"
	done
	apt_private update
}

apt_options() {
	printf '%s\n' \
		-o "Dir::Etc=$apt_dir/etc" \
		-o "Dir::Etc::sourcelist=$apt_dir/etc/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o "Dir::State=$apt_dir" \
		-o "Dir::State::lists=$apt_dir/lists" \
		-o "Dir::State::status=$apt_dir/status" \
		-o "Dir::Cache=$apt_dir/cache" \
		-o "Dir::Log=$apt_dir" \
		-o "APT::Sandbox::User=$(id -un)" \
		-o APT::Install-Recommends=false \
		-o Acquire::Languages=none \
		-o Acquire::Retries=3 \
		-o Debug::NoLocking=1
}

apt_private() {
	local options
	mapfile -t options < <(apt_options)
	apt-get -q -y "${options[@]}" "$@" </dev/null >>"$apt_dir/apt.log" 2>&1 || {
		cat "$apt_dir/apt.log" >&2
		fail "apt-get $* failed for $(awk '{ print $(NF - 1) }' "$apt_dir/etc/sources.list" | xargs)"
	}
}

apt_ask() {
	local options
	mapfile -t options < <(apt_options)
	apt-cache -q "${options[@]}" "$@" </dev/null 2>>"$apt_dir/apt.log"
}

# Whether DIRECTORY/PROGRAM is there and starts.
program_works() {
	[ -x "$1" ] && "$1" "${2:---version}" >/dev/null 2>&1
}

# Unpacks PROGRAM of PACKAGE, with the libraries it was built for, into DIRECTORY, which then holds `PROGRAM`, a
# wrapper that starts it through its own dynamic loader, and `version`. So one machine can run the programs of
# several suites. apt resolves what it needs as if the machine were empty. The program must know VERSION_OPTION.
# A directory that already holds a working program is left as it is.
fetch_program() {
	local suite=$1 package=$2 program=$3 target=$4 version_option=${5:---version} work libraries loader file scratch
	program_works "$target/$program" "$version_option" && return
	mkdir -p "$(dirname "$target")"
	exec 9>"$target.lock"
	flock 9
	if ! program_works "$target/$program" "$version_option"; then
		make_scratch "$target"
		work=$scratch
		apt_open "$work/apt" "$suite"
		apt_private --download-only install "$package"
		mkdir "$work/root" "$work/bin" "$work/lib"
		for file in "$work"/apt/cache/archives/*.deb; do
			dpkg-deb -x "$file" "$work/root"
		done

		# Only the program, its libraries and their loader are kept, in one folder each.
		libraries=$(basename "$(dirname "$(find "$work/root" -name 'libc.so.*' | head -n 1)")")
		cp "$(find "$work/root" -path "*bin/$program" -type f | head -n 1)" "$work/bin/" ||
			fail "$package of $suite holds no $program"
		find "$work/root/usr/lib/$libraries" "$work/root/lib/$libraries" -maxdepth 1 -name '*.so*' \
			-exec cp -L -t "$work/lib" {} + 2>/dev/null || true
		loader=$(find "$work/lib" -name 'ld-linux*.so.*' | head -n 1)
		[ -n "$loader" ] || fail "the packages of $suite hold no dynamic loader"
		cat >"$work/$program" <<-WRAPPER
			#!/bin/sh
			# Runs the $program of $suite with its own loader and libraries.
			here=\$(dirname "\$(readlink -f "\$0")")
			exec "\$here/lib/$(basename "$loader")" --argv0 $program --library-path "\$here/lib" "\$here/bin/$program" "\$@"
		WRAPPER
		chmod +x "$work/$program"
		program_works "$work/$program" "$version_option" ||
			fail "the $program of $suite does not start: $("$work/$program" "$version_option" 2>&1 || true)"
		"$work/$program" "$version_option" 2>&1 | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1 >"$work/version"
		rm -rf "$work"/{root,apt} "$target"
		mv "$work" "$target"
		chmod 755 "$target"
	fi
	exec 9>&-
}
