"""`postlane schema`: JSON Schema of every file, for editors; printed, or written as NAME.json into a folder."""

import argparse
import json
from pathlib import Path

from relay.config.json_schema import json_schemas


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("schema", help="JSON Schema of every file, which their first lines point editors at")
    parser.add_argument("--write", metavar="DIR", type=Path, help="write NAME.json for each file into this folder")
    parser.set_defaults(run=run, anywhere=True)


def run(args: argparse.Namespace) -> int:
    schemas = json_schemas()
    if args.write is not None:
        args.write.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas.items():
            (args.write / f"{name}.json").write_text(text_of(schema), "utf-8")
        print(f"{len(schemas)} files in {args.write}")
    elif args.json:
        for name, schema in schemas.items():
            print(json.dumps({"file": f"{name}.toml", "schema": schema}, ensure_ascii=False))
    else:
        print(text_of(schemas), end="")
    return 0


def text_of(schema: object) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
