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
    open_files = [os.path.realpath(each) for each in glob.glob("/proc/self/fd/*")]
    places = [os.path.dirname(each) for each in open_files if os.path.basename(each) == "gdbinit.gdb"]
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
    environments = [os.path.join(root, ".venv"), os.environ.get("VIRTUAL_ENV", "")]
    sites = [root] + [site for each in environments if each
                      for site in glob.glob(os.path.join(each, "lib", "python3*", "site-packages"))]
    from importlib.util import find_spec
    for needed in ("elftools", "bincopy", "platformdirs", "filelock"):
        if find_spec(needed) is None:
            sys.path += [site for site in sites if gdbflash_holds(site, needed)][:1]
        if find_spec(needed) is None:
            return ("the Python in GDB does not find the package %s. Install gdbflash into a virtual environment with "
                    "pip, and start GDB from where that is active." % needed)
    from gdbflash.ingdb import register
    register.register()

def gdbflash_holds(site, name):
    return any(os.path.exists(os.path.join(site, each)) for each in (name, name + ".py"))

gdbflash_trouble = gdbflash_start()
if gdbflash_trouble:
    gdb.write("gdbflash: " + gdbflash_trouble + "\n", gdb.STDERR)
del gdbflash_start, gdbflash_holds, gdbflash_trouble
  end
end
