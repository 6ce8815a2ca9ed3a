"""Static files, found once in a process of tests."""

from collections.abc import Callable

from whitenoise.middleware import WhiteNoiseMiddleware


def share_static_files(find: Callable[[WhiteNoiseMiddleware], None]) -> Callable[[WhiteNoiseMiddleware], None]:
    """Return a function that gives every instance the files that `find` gave to the first."""
    shared: dict[str, object] = {}

    def add_files(self: WhiteNoiseMiddleware) -> None:
        if not shared:
            find(self)
            shared.update(self.files)
        self.files.update(shared)

    return add_files
