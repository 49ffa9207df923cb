# Add the gdbflash commands to GDB:
#     source gdbinit                          in a checkout
#     gdb -x "$(gdbflash gdbinit)"            where gdbflash is installed
# A project's .gdbinit takes `source` with the path that `gdbflash gdbinit` prints.

if $_isvoid($_streq)
  echo gdbflash: this GDB was built without Python, which the gdbflash commands need. Use gdb-multiarch, or pip install "gdbflash[gdb]".\n
else
  python
import glob, os, sys

# What is said here is said by gdb.write: an exception would bring a traceback with it in older GDBs. The code up to
# the check of the version must be understood by any Python.

def gdbflash_start():
    """Find the package that this file belongs to and what it needs, and add its commands; gives what is in the way."""
    if sys.version_info < (3, 10):
        return ("the Python in this GDB is %d.%d, and the gdbflash commands need 3.10 or newer. "
                "Use a newer gdb-multiarch, or pip install \"gdbflash[gdb]\"." % sys.version_info[:2])
    if not hasattr(gdb, "RemoteTargetConnection"):
        return ("this is GDB %s, and the gdbflash commands need 12 or newer. "
                "Use a newer gdb-multiarch, or pip install \"gdbflash[gdb]\"." % gdb.VERSION)
    # GDB does not tell a script its own name, but has the script open while it runs it.
    open_files = gdbflash_open_files()
    places = [os.path.dirname(each) for each in open_files if os.path.basename(each) == "gdbinit.gdb"]
    # In an archive of the sources the link gdbinit is a copy.
    places += [os.path.join(os.path.dirname(each), "gdbflash") for each in open_files
               if os.path.basename(each) == "gdbinit"]
    # Where the system does not tell of open files either: the package that `gdbflash` on the PATH is of.
    places += [os.path.join(each, "gdbflash") for each in gdbflash_sites("/nowhere")] if not places else []
    places = [each for each in places if os.path.exists(os.path.join(each, "ingdb", "register.py"))]
    if not places:
        return ("the package that gdbinit belongs to cannot be found. Source it by its own name, gdbinit or gdbinit.gdb, "
                "in the place where it was installed.")
    root = os.path.dirname(places[0])
    # Only for this import: a site-packages directory that came first would replace modules of GDB's own Python.
    sys.path.insert(0, root)
    try:
        import gdbflash
    finally:
        sys.path.remove(root)
    from importlib.util import find_spec
    needed = {"elftools": "pyelftools", "bincopy": "bincopy", "platformdirs": "platformdirs", "filelock": "filelock"}
    for name in needed:
        if find_spec(name) is None:
            sys.path += [site for site in gdbflash_sites(root) if gdbflash_holds(site, name)][:1]
        if find_spec(name) is None:
            return gdbflash_missing(root, needed[name])
    from gdbflash.ingdb import register
    register.register()

def gdbflash_open_files():
    """Name the files that are open: /proc tells (Linux), or fcntl (macOS, fcntl(2): F_GETPATH)."""
    found = [os.path.realpath(each) for each in glob.glob("/proc/self/fd/*")]
    if found or sys.platform != "darwin":
        return found
    import fcntl
    for name in os.listdir("/dev/fd"):
        try:
            found.append(os.fsdecode(fcntl.fcntl(int(name), 50, bytes(1024)).rstrip(b"\0")))
        except OSError:
            pass
    return found

def gdbflash_sites(root):
    """Name the folders that may hold the packages, nearest first: IDEs start GDB without an active environment."""
    homes = [os.environ.get("PIPX_HOME"), "~/.local/share/pipx", "~/.local/pipx", "/opt/pipx"]
    environments = [os.path.dirname(each) for name in ("*", ".*")
                    for each in sorted(glob.glob(os.path.join(glob.escape(root), name, "pyvenv.cfg")))]
    environments += [os.environ.get("VIRTUAL_ENV"), os.environ.get("CONDA_PREFIX")]
    # Where `gdbflash` is typed, it lies in its environment, or a link to there does. Nothing of the working directory.
    environments += [os.path.dirname(os.path.dirname(os.path.realpath(os.path.join(folder, "gdbflash"))))
                     for folder in os.environ.get("PATH", "").split(os.pathsep)
                     if os.path.isabs(folder) and os.path.isfile(os.path.join(folder, "gdbflash"))]
    environments += [os.path.join(os.path.expanduser(each), "venvs", "gdbflash") for each in homes if each]
    tools = os.environ.get("UV_TOOL_DIR") or "~/.local/share/uv/tools"
    environments += [os.path.join(os.path.expanduser(tools), "gdbflash")]
    # Of an environment for several versions, that of this Python first.
    versions = ["python%d.%d" % sys.version_info[:2], "python3*"]
    return [root] + [site for each in environments if each and os.path.isabs(each) for version in versions
                     for site in sorted(glob.glob(os.path.join(glob.escape(each), "lib", version, "site-packages")))]

def gdbflash_missing(root, package):
    """Say that a package is nowhere, and what to type."""
    said = "the Python in GDB does not find the package %s, which the gdbflash commands need. Type in a shell: " % package
    if os.path.exists(os.path.join(root, "pyproject.toml")):
        folder = "'%s'" % root.replace("'", "'\\''")
        return said + "python3 -m venv %s/.venv && %s/.venv/bin/pip install %s" % ((folder,) * 3)
    return said + "pip install --target '%s' %s" % (root.replace("'", "'\\''"), package)

def gdbflash_holds(site, name):
    return any(os.path.exists(os.path.join(site, each)) for each in (name, name + ".py"))

gdbflash_trouble = gdbflash_start()
if gdbflash_trouble:
    gdb.write("gdbflash: " + gdbflash_trouble + "\n", gdb.STDERR)
del gdbflash_start, gdbflash_sites, gdbflash_missing, gdbflash_holds, gdbflash_trouble
  end
end
