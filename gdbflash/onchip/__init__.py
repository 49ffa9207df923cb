"""What happens in the target: where a loader goes, how its functions are called, and why one did not return.

What belongs here: everything that knows of RAM layouts, registers, calls and the code of ours that runs there
(`routines/`, assembled into `routine_code`). What a call is made for is decided in `flash`. A new device is a row in
`device.table`. May import: `plan`, `loaders`, `images`, and the modules at the top of the package.
"""
