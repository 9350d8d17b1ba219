"""The one error of study files."""

from pathlib import Path


class StudyError(ValueError):
    """A study file cannot be used: which file, which dotted field, what is wrong and allowed."""

    def __init__(self, file: Path | str, field: str, problem: str) -> None:
        where = f"{file}: {field}" if field else str(file)
        super().__init__(f"{where}: {problem}")
        self.file, self.field, self.problem = str(file), field, problem

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        """Pickle by its parts."""
        return type(self), (self.file, self.field, self.problem)
