"""Records the digest of each model's answers under its version, after the version was raised.

    python tools/record_model_versions.py

Writes tests/data/model_versions.json. A version that is recorded already keeps its digest: answers that have changed need a new
`MODEL_VERSION` (hwloop/simulator/version.py, hwloop/mapper/version.py, hwloop/backend/timeloop/version.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.model_answers import RECORDED, digests  # it lies beside this folder, not in the package


def main() -> int:
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    failed = False
    for model, (version, digest) in digests().items():
        known = recorded.setdefault(model, {})
        if known.get(str(version), digest) != digest:
            print(f"{model}: version {version} is recorded with other answers; raise its MODEL_VERSION first")
            failed = True
            continue
        print(f"{model}: version {version} {'was' if str(version) in known else 'is now'} recorded")
        known[str(version)] = digest
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
