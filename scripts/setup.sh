# Sourced by the other scripts: makes a fresh machine ready. Everything lands in .venv and Debian's packages.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python="$top/.venv/bin/python"

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need_packages PROGRAM=PACKAGE...: install the Debian packages of the programs that are missing.
need_packages() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null 2>&1 || die "please install: ${missing[*]}"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    echo "installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq || die "apt-get update failed"
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || die "apt-get could not install ${missing[*]}"
}

# need_venv EXTRAS: make .venv with gdbflash and the extras, in the versions of constraints.txt; done again only when one
# of these files changed.
need_venv() {
    local extras=$1 stamp="$top/.venv/.gdbflash-$1" base
    if [ -x "$python" ] && [ "$stamp" -nt "$top/pyproject.toml" ] && [ "$stamp" -nt "$top/scripts/constraints.txt" ]; then
        return
    fi
    if [ ! -x "$python" ]; then
        base=$(command -v python3) || { need_packages python3=python3; base=python3; }
        "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "Python 3.10 or newer is needed"
        "$base" -c 'import ensurepip' 2>/dev/null || need_packages no-ensurepip=python3-venv
        "$base" -m venv "$top/.venv" || die "python3 -m venv failed"
    fi
    echo "installing gdbflash[$extras] into .venv"
    # What pip and the build say is of interest only when it fails.
    # A plain path instead of an import hook: every start of gdbflash is 20 ms faster.
    "$python" -m pip install --disable-pip-version-check --config-settings editable_mode=compat \
        -c "$top/scripts/constraints.txt" -e "$top[$extras]" >"$top/.venv/install.log" 2>&1 ||
        die "pip install failed: $(tail -n 20 "$top/.venv/install.log")"
    touch "$stamp"
}

# need_gdb: a GDB that starts and knows ARM. The one from PyPI wants a libpython, which a bare Debian lacks.
need_gdb() {
    "$python" -c 'from gdbflash.mi.find_gdb import start_gdb; start_gdb().close()' 2>/dev/null ||
        need_packages gdb-multiarch=gdb-multiarch
}

# need_pypi_gdb: the GDB from PyPI starts, which the tests run beside Debian's.
need_pypi_gdb() {
    "$top/.venv/bin/gdb" --version >/dev/null 2>&1 ||
        need_packages "no-libpython=libpython$("$python" -c 'import sysconfig; print(sysconfig.get_python_version())')"
}
