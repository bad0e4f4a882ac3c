"""What the models of replies are made of: their base, and fields that many have."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(description="32 bytes, hexadecimal.")]
Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$"), Field(description="Bytes, hexadecimal.")]
SignatureHex = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{128}$"), Field(description="Ed25519 signature, 64 bytes, hexadecimal.")
]
HeightNumber = Annotated[int, Field(ge=0, description="Position in the chain; genesis is 0, the first block 1.")]
SlotNumber = Annotated[int, Field(ge=0, description="Timeslot since the chain's start.")]
EnergyWh = Annotated[int, Field(ge=0, description="Energy in Wh.")]
AmountMicro = Annotated[int, Field(ge=0, description="Millionths of a token.")]
Count = Annotated[int, Field(ge=0)]


class ApiModel(BaseModel):
    """Base of all models: immutable, no field besides the documented ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Cause = Literal[
    "genesis", "seller", "buyer", "leader", "validator", "fault", "stake", "suspension", "verifier", "reinstatement"
]
"""What moved a score."""
