"""``python -m controller.forecasting``: make the networks that come with the package."""

from controller.commands.pretrain import command

command(prog_name="python -m controller.forecasting")
