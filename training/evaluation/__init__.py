"""How good a model is: figures, baselines to beat, and programs that measure them."""
