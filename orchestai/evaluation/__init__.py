"""How good plans are: metrics, baselines, comparisons, plots. Submodules are imported where used."""
