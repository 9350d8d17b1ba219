"""Faults inside a worker, switched by files; Python imports a module of this name at its start.

The product knows nothing of it. After a checkpoint was saved, and before its report is told, a
worker looks for these files in ``<home>/faults``:

- ``raise-<key>``: it raises in that cell, as long as the file is there;
- ``kill-<pid>``: it kills that process, once.
"""

import importlib.util
import os
import signal
import sys
from importlib.abc import MetaPathFinder

MODULE = "simclr_lab.training.checkpoint"


class _AfterImport(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        execute = spec.loader.exec_module

        def execute_and_inject(module):
            execute(module)
            _inject(module.CellStore)

        spec.loader.exec_module = execute_and_inject
        return spec


def _inject(store):
    save = store.save_checkpoint

    def save_checkpoint(self, step, state):
        save(self, step, state)
        faults = self.storage.parent / "faults"
        for file in faults.iterdir() if faults.is_dir() else ():
            what, _, whom = file.name.partition("-")
            if what == "raise" and whom == self.key:
                raise RuntimeError("injected by the test")
            if what == "kill":
                file.unlink(missing_ok=True)
                os.kill(int(whom), signal.SIGKILL)

    store.save_checkpoint = save_checkpoint


sys.meta_path.insert(0, _AfterImport())
