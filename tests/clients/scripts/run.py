"""Runs one function of a script beside this one. Its result is a line of the output that begins with RESULT, as JSON.

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
    print("\nRESULT " + json.dumps(result), flush=True)


async def _wait_for(result):
    return await result


if __name__ == "__main__":
    main()
