"""PySCF's settings where the user has none: its defaults.

PySCF executes the file named by the variable PYSCF_CONFIG_FILE, else ``.pyscf_conf.py`` of the
working folder. ``deepchem_dft`` points the variable here, so that unpacking somebody's archive and
working in it runs no code of theirs.
"""
