"""``dpem report``: a run or a comparison as one HTML page that needs nothing else."""

from pathlib import Path

import click

from quantum.output import json_option, write_json, write_whole

__all__ = ["command"]


@click.command("report")
@click.argument("run", metavar="RUN|COMPARISON")
@click.option("--out", metavar="FILE.html", help="The page; RUN.html beside the folder by default.")
@json_option
def command(run: str, out: str | None, json_path: str | None) -> None:
    """Write a run folder, or one of a comparison, as a self-contained HTML page.

    It has figures, tables and digests. Of a comparison that still plays it has what is there.
    """
    from quantum.errors import InputError

    # A sealed folder takes no more files, so the page goes beside it.
    folder = Path(run).resolve()
    page = Path(out) if out else folder.with_name(f"{folder.name}.html")
    if page.resolve().is_relative_to(folder):
        raise InputError(f"{page} is inside the sealed run folder; write the page elsewhere")
    data = _page(Path(run)).encode()
    write_whole(page, data)
    write_json({"run_dir": run, "page": str(page), "bytes": len(data)}, json_path)
    if json_path != "-":
        click.echo(f"Report: {page}")


def _page(folder: Path) -> str:
    if (folder / "comparison.json").is_file():
        from controller.arena.reading import render as render_comparison

        return render_comparison(folder)
    from controller.report import render
    from quantum.record import read

    return render(read(folder))
