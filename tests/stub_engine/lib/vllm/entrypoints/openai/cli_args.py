"""The parser of vLLM's server command, with a few of its arguments, for who asks it alone."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def make_arg_parser(parser: ArgumentParser) -> ArgumentParser:
    parser.add_argument("--model")
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--enable-auto-tool-choice", action="store_true")
    parser.add_argument("--tool-call-parser")
    return parser


def validate_parsed_serve_args(args: Namespace) -> None:
    if args.enable_auto_tool_choice and not args.tool_call_parser:
        raise TypeError("Error: --enable-auto-tool-choice requires --tool-call-parser")
