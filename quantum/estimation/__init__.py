"""Estimators: from raw results to quantities with intervals that keep their promise."""
