# Add the gdbflash commands to GDB:  source gdbinit
# In a .gdbinit of a project:        source /path/that/"gdbflash gdbinit"/prints

if $_isvoid($_streq)
  echo gdbflash: this GDB was built without Python, which the gdbflash commands need. Use gdb-multiarch, or pip install "gdbflash[gdb]".\n
else
  python
import glob, os, sys

def gdbflash_start():
    """Find the package that this file belongs to, and what it needs, and add its commands."""
    if sys.version_info < (3, 10):
        raise gdb.GdbError("gdbflash: the Python in this GDB is %d.%d, and the gdbflash commands need 3.10 or newer. "
                           "Use a newer gdb-multiarch, or pip install \"gdbflash[gdb]\"." % sys.version_info[:2])
    # GDB does not tell a script its own name, but has the script open while it runs it.
    open_files = [os.path.realpath(each) for each in glob.glob("/proc/self/fd/*")]
    here = [os.path.dirname(each) for each in open_files if os.path.basename(each) == "gdbinit.gdb"]
    here = [each for each in here + [os.path.join(os.getcwd(), "gdbflash")] if os.path.exists(os.path.join(each, "ingdb.py"))]
    if not here:
        raise gdb.GdbError("gdbflash: the package beside gdbinit cannot be found. Source gdbinit in its directory.")
    root = os.path.dirname(here[0])
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
    for needed in ("elftools", "bincopy"):
        if find_spec(needed) is None:
            sys.path += [site for site in sites if find_in(site, needed)][:1]
        if find_spec(needed) is None:
            raise gdb.GdbError("gdbflash: the Python in GDB does not find the package %s. Install gdbflash into a virtual "
                               "environment with pip, and start GDB from where that is active." % needed)
    from gdbflash import gdbregister
    gdbregister.register()

def find_in(site, name):
    return site not in sys.path and any(os.path.exists(os.path.join(site, each)) for each in (name, name + ".py"))

try:
    gdbflash_start()
finally:
    del gdbflash_start, find_in
  end
end
