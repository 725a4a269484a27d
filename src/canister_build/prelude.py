"""Runs inside a template-built canister before its modules: loads them under their names.

Never imported by the build or by tests of it; `bundle` sends its text along, so it has to stay short: every
installation pays for it. Standard modules it may use: sys.
"""

import sys


def _load(name, path, is_package, text, services):
    """Runs one module; an error at its top level is raised again with file and line in its text."""
    parent, _, last = name.rpartition(".")
    module = type(sys)(name)
    module.__file__ = path
    module.__package__ = name if is_package else parent
    sys.modules[name] = module
    if parent:
        setattr(sys.modules[parent], last, module)
    try:
        # Not by way of compile(), whose first call makes the interpreter build every type of syntax node.
        exec(text, module.__dict__)
    except Exception as error:
        trace, line = error.__traceback__, 0
        while trace is not None:
            path = trace.tb_frame.f_globals.get("__file__", path)
            trace, line = trace.tb_next, trace.tb_lineno
        raise RuntimeError(f"{path}:{line}: {type(error).__name__}: {error}") from error
    for service, (arg_types, return_types) in services.items():
        declared = getattr(module, service)
        declared._arg_types = arg_types
        declared._return_types = return_types
    return module.__dict__


def _export(names):
    """Makes the entry file's public names the canister's own, as `from main import *` does."""
    public = names.get("__all__") or [name for name in names if not name.startswith("_")]
    globals().update({name: names[name] for name in public})
