"""What is linear once an activation pattern is fixed: substitution, harmonic extension, spectra,
effective resistance, and what counts as being at rest.

May import: support, networks, sheaves.
In the paper: Lemma 3.2 (unitriangular, hence invertible), Theorem 3.3, section 3.3 (spectra).
"""
