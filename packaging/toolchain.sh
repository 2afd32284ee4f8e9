# shellcheck shell=bash disable=SC2034  # used by those who source this
# What building on a bare Debian or Ubuntu machine takes; sourced by packaging/demo and tests/run.
#
# Sets $repository, $builder (who builds) and $target (where to).

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
builder='' target=''
# rustc links with them, and aws-lc, the core of the TLS library, is C.
readonly BUILD_PACKAGES=(gcc libc6-dev)
readonly UFW_PACKAGES=(ufw iptables nftables conntrack iproute2 util-linux mount)

die() {
    echo "${0##*/}: $1" >&2
    exit 1
}

find_compiler() {
    choose_builder
    local needed version mend="curl -sSf https://sh.rustup.rs | sh"
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repository/Cargo.toml")
    version=$(as_builder rustc --version 2>/dev/null | cut -d ' ' -f 2) || version=0
    if as_builder rustup --version >/dev/null 2>&1; then
        mend="rustup update stable && rustup default stable"
    fi
    printf '%s\n' "$needed" "$version" | sort --check=quiet --version-sort ||
        die "needs Rust $needed, $builder has ${version/#0/none}; run as $builder: $mend"
}

# The user behind sudo where the checkout is theirs, so that target/ stays theirs too.
choose_builder() {
    builder=${SUDO_USER:-root} target=${CARGO_TARGET_DIR:-$repository/target}
    as_builder test -w "$repository" 2>/dev/null || builder=root
    if [[ -e $target ]] && ! as_builder test -w "$target"; then
        die "$builder cannot write to $target; run: sudo chown -R $builder $target"
    fi
}

as_builder() {
    local home as=()
    home=$(getent passwd "$builder" | cut -d : -f 6) || return
    [[ $builder == root ]] || as=(runuser -u "$builder" --)
    (cd "$repository" && "${as[@]}" env HOME="$home" PATH="$home/.cargo/bin:$PATH" "$@")
}

# Installs those of the given packages that are missing; says so first.
install_packages() {
    local package missing=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    echo "Installing with apt-get, to stay: ${missing[*]}"
    apt_install "${missing[@]}" >/dev/null ||
        die "packages are missing; on Debian or Ubuntu run: sudo apt-get install ${missing[*]}"
}

# Asks nothing, and waits for another apt.
apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
    # Old lists may do: the installation decides.
    "${apt[@]}" update || true
    "${apt[@]}" install --no-install-recommends "$@"
}
