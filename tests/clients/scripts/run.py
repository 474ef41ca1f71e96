"""Runs one function of a script beside this one. Its result is the last line of the output, as JSON.

run.py SCRIPT FUNCTION ARGUMENTS_AS_JSON
"""

import importlib
import inspect
import json
import sys


def main() -> None:
    script, function, arguments = sys.argv[1:]
    result = getattr(importlib.import_module(script), function)(**json.loads(arguments))
    if inspect.isawaitable(result):
        import asyncio

        result = asyncio.run(_wait_for(result))
    print("\n" + json.dumps(result))


async def _wait_for(result):
    return await result


if __name__ == "__main__":
    main()
