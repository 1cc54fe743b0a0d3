"""Measure the fidelity of a photonic link through the ID900 driver.

Here a firmware stub answers in the place of the instrument; with the address of a real one the rest
stays as it is. Run it with ``python examples/4_measure_a_lab_link.py``.
"""

from backends.drivers.id900 import ID900
from backends.rack import StubProcess
from quantum.counts import Counts, Tally
from quantum.estimate import estimate

WINDOW_S = 0.2

# The stub's source emits 20,000 pairs/s of fidelity 0.93; losses leave some 3,200/s.
with StubProcess("id900", ["--seed", "3", "--fidelity", "0.93"]) as stub:
    driver = ID900(stub.address)  # or ID900("tcp://HOST:5555")
    print(driver.identify().model)
    driver.configure(WINDOW_S)
    tally = {}
    for basis in ("xx", "yy", "zz"):
        driver.set_basis(basis)
        seen = driver.coincidences(WINDOW_S)
        # phi_plus shows equal outcomes in xx and zz, different ones in yy.
        good, bad = (seen.odd, seen.even) if basis == "yy" else (seen.even, seen.odd)
        tally[basis] = Tally(good, bad)
        print(f"{basis}: {good} passed, {bad} failed in a fresh window of {seen.integration_s} s")
    driver.safe_state()
    driver.close()

# One estimator for simulators and instruments. The exact interval holds for tests whose basis is
# drawn pair by pair; with one window for each basis, as here, it is a good approximation.
found = estimate(Counts(**tally))
print(f"fidelity {found.best:.3f}, 95 % [{found.low:.3f}, {found.high:.3f}], {found.shots} pairs")
