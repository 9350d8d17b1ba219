"""Running studies: plan, trials, search. Ray Tune and Optuna live here."""
