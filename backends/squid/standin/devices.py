"""Configuration of quantum devices, with the fields, units and defaults of SquidASM."""

# ruff: noqa: N815 - fields are named as programs and files name them.
from typing import Self

from backends.squid.setting import Generic, Nv
from backends.squid.standin.model import Coherence, Count, Model, Probability, Time

__all__ = ["GenericQDeviceConfig", "IQDeviceConfig", "NVQDeviceConfig"]


class IQDeviceConfig(Model):
    """Base of the device configurations."""


class GenericQDeviceConfig(IQDeviceConfig):
    """A device whose qubits are all alike. Times in ns; T1 = 0 or T2 = 0 means no decay.

    >>> GenericQDeviceConfig.perfect_config(num_qubits=3).setting().qubits
    3
    """

    num_qubits: Count = 2
    num_comm_qubits: Count = 2
    T1: Coherence = 10_000_000_000.0
    T2: Coherence = 1_000_000_000.0
    init_time: Time = 10_000.0
    single_qubit_gate_time: Time = 1_000.0
    two_qubit_gate_time: Time = 100_000.0
    measure_time: Time = 10_000.0
    single_qubit_gate_depolar_prob: Probability = 0.0
    two_qubit_gate_depolar_prob: Probability = 0.01

    @classmethod
    def perfect_config(cls, num_qubits: int = 100) -> Self:
        """Return a device without noise whose operations take no time."""
        return cls(
            num_qubits=num_qubits,
            num_comm_qubits=num_qubits,
            T1=0,
            T2=0,
            init_time=0,
            single_qubit_gate_time=0,
            two_qubit_gate_time=0,
            measure_time=0,
            two_qubit_gate_depolar_prob=0,
        )

    def setting(self) -> Generic:
        """Return the device as a value."""
        return Generic(
            qubits=self.num_qubits,
            t1_ns=_finite(self.T1),
            t2_ns=_finite(self.T2),
            init_ns=self.init_time,
            single_ns=self.single_qubit_gate_time,
            two_ns=self.two_qubit_gate_time,
            measure_ns=self.measure_time,
            single_depolar=self.single_qubit_gate_depolar_prob,
            two_depolar=self.two_qubit_gate_depolar_prob,
        )


class NVQDeviceConfig(IQDeviceConfig):
    """An electron, which talks to the network and is measured, and carbons. Times in ns.

    ``prob_error_0`` is the chance that an outcome 0 is reported as 1, ``prob_error_1`` the other.

    >>> NVQDeviceConfig(carbon_rot_x=7).setting().carbon_x_ns
    7.0
    """

    num_qubits: Count = 2
    electron_init_depolar_prob: Probability = 0.05
    electron_single_qubit_depolar_prob: Probability = 0.0
    prob_error_0: Probability = 0.05
    prob_error_1: Probability = 0.005
    carbon_init_depolar_prob: Probability = 0.05
    carbon_z_rot_depolar_prob: Probability = 0.001
    ec_gate_depolar_prob: Probability = 0.008
    electron_T1: Coherence = 1_000_000_000.0
    electron_T2: Coherence = 300_000_000.0
    carbon_T1: Coherence = 150_000_000_000.0
    carbon_T2: Coherence = 1_500_000_000.0
    carbon_init: Time = 310_000.0
    carbon_rot_x: Time = 500_000.0
    carbon_rot_y: Time = 500_000.0
    carbon_rot_z: Time = 500_000.0
    electron_init: Time = 2_000.0
    electron_rot_x: Time = 5.0
    electron_rot_y: Time = 5.0
    electron_rot_z: Time = 5.0
    ec_controlled_dir_x: Time = 500_000.0
    ec_controlled_dir_y: Time = 500_000.0
    measure: Time = 3_700.0

    @classmethod
    def perfect_config(cls, num_qubits: int = 2) -> Self:
        """Return a device whose operations have no errors; times and decay are the defaults."""
        return cls(
            num_qubits=num_qubits,
            electron_init_depolar_prob=0,
            electron_single_qubit_depolar_prob=0,
            prob_error_0=0,
            prob_error_1=0,
            carbon_init_depolar_prob=0,
            carbon_z_rot_depolar_prob=0,
            ec_gate_depolar_prob=0,
        )

    def setting(self) -> Nv:
        """Return the device as a value."""
        return Nv(
            qubits=self.num_qubits,
            electron_init_depolar=self.electron_init_depolar_prob,
            electron_single_depolar=self.electron_single_qubit_depolar_prob,
            flip_0=self.prob_error_0,
            flip_1=self.prob_error_1,
            carbon_init_depolar=self.carbon_init_depolar_prob,
            carbon_z_depolar=self.carbon_z_rot_depolar_prob,
            ec_depolar=self.ec_gate_depolar_prob,
            electron_t1_ns=_finite(self.electron_T1),
            electron_t2_ns=_finite(self.electron_T2),
            carbon_t1_ns=_finite(self.carbon_T1),
            carbon_t2_ns=_finite(self.carbon_T2),
            carbon_init_ns=self.carbon_init,
            carbon_x_ns=self.carbon_rot_x,
            carbon_y_ns=self.carbon_rot_y,
            carbon_z_ns=self.carbon_rot_z,
            electron_init_ns=self.electron_init,
            electron_x_ns=self.electron_rot_x,
            electron_y_ns=self.electron_rot_y,
            electron_z_ns=self.electron_rot_z,
            ec_x_ns=self.ec_controlled_dir_x,
            ec_y_ns=self.ec_controlled_dir_y,
            measure_ns=self.measure,
        )


def _finite(time_ns: float) -> float:
    """Return a decay time as settings have it: 0 where nothing decays."""
    return 0.0 if time_ns == float("inf") else time_ns
