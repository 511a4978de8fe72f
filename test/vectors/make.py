"""Makes every golden vector of this folder again: python test/vectors/make.py [--check]

Needs the full level of test/reference/requirements-full.txt. --check writes nothing here: it fails when a vector would
change in anything but the versions of the tools.
"""

import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))

import affine  # noqa: E402
import affine_rows  # noqa: E402
import blockwise  # noqa: E402
import casts  # noqa: E402
import ggml  # noqa: E402
import integers  # noqa: E402
import mxfp4  # noqa: E402
import nvfp4  # noqa: E402
import row_pairs  # noqa: E402
import scaled  # noqa: E402
import vector  # noqa: E402

MAKERS = (mxfp4, casts, ggml, scaled, nvfp4, row_pairs, blockwise, affine, affine_rows, integers)


def make_all() -> list[str]:
    return [name for maker in MAKERS for name in maker.make_all()]


def content(path: pathlib.Path) -> dict:
    """A vector without the versions that made it."""
    found = json.loads(path.read_text())
    del found["provenance"]["tools"]
    return found


def check() -> None:
    with tempfile.TemporaryDirectory() as folder:
        vector.folder = pathlib.Path(folder)
        names = make_all()
        stored = sorted(path.stem for path in HERE.glob("*.json"))
        if sorted(names) != stored:
            sys.exit(f"the folder holds {stored}, the scripts make {sorted(names)}")
        changed = [name for name in names if content(HERE / f"{name}.json") != content(vector.folder / f"{name}.json")]
        if changed:
            sys.exit(f"{len(changed)} vectors differ: {' '.join(changed)}")
    print(f"{len(names)} vectors unchanged")


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        check()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        print(f"{len(make_all())} vectors written")


if __name__ == "__main__":
    main()
