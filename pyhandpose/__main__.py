"""The command line: ``pyhandpose COMMAND --help`` explains each command.

Each command is one file in ``pyhandpose/cli`` with ``main(argv) -> int``; it is imported only when
it is called, so that ``pyhandpose doctor`` works when something a command needs does not.
"""

import importlib
import sys

COMMANDS = {
    "quickstart": "see PeCLR beat SimCLR and training from scratch on synthetic hands (start here)",
    "pretrain": "pre-train an encoder on unlabelled images (PeCLR or SimCLR)",
    "finetune": "train the 2.5D pose head, and the encoder with it, on labelled images",
    "evaluate": "measure a checkpoint: EPE, PA-EPE, PCK and AUC; table, JSON and plots",
    "predict": "estimate the hand pose in your own photos: overlay and JSON for each",
    "convert": "read published weights (PeCLR, torchvision, timm) into a checkpoint folder",
    "data": "list, check and split the datasets on your disk",
    "synth": "generate images of the synthetic hand world, or a contact sheet of it",
    "doctor": "say what was built, what is missing and how to mend it",
}


def usage() -> str:
    """What ``pyhandpose --help`` prints."""
    width = max(map(len, COMMANDS))
    lines = ["usage: pyhandpose COMMAND [OPTIONS]", ""]
    lines += [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    lines += ["", "`pyhandpose COMMAND --help` explains a command's options."]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0 on success, 2 for a mistake on the command line."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from pyhandpose import __version__

        print(__version__)
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        print(f"pyhandpose: unknown command {command!r}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(f"pyhandpose.cli.{command}")
    except ImportError as error:  # a missing package, or an extension that does not load
        print(
            f"pyhandpose {command}: {error}; `pyhandpose doctor` says what to install",
            file=sys.stderr,
        )
        return 2
    return int(module.main(rest))


if __name__ == "__main__":
    sys.exit(main())
