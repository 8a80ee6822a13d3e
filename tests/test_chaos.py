"""Some of the chaos: a small benchmark is broken again and again, and gives what it gives in peace. All of it: chaos.py."""

import chaos


def test_what_is_broken_again_and_again_gives_the_same(tmp_path):
    chaos.main(tmp_path, n_cells=4, seed=1, epochs=40, n_events=8, pause=(6, 14), megabytes=40)
