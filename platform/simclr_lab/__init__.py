"""simclr-lab: SimCLR's ablations as something one can run.

An arrow points at what a layer may import; a linter holds it (pyproject.toml):

    cli -> tuning | tracking -> training -> evaluation | data | spaces
        -> contrastive -> recipe | identity | cell
"""
