"""How the simulated devices behave: pure, in steps of time, with a random generator that the caller seeds.

step(seconds) moves the physics; values() is what its sensors say; operations change what the physics aim at
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

Json = dict[str, Any]
RadarMode = Literal["idle", "scan", "track"]
ThermostatMode = Literal["off", "heat", "auto"]
SECTORS = 8


class Model(Protocol):
    """One device."""

    type: str

    def step(self, seconds: float) -> None:
        """Let time pass."""

    def values(self) -> Json:
        """What the sensors say now, with their noise."""


@dataclass(slots=True)
class Target:
    """Something that a radar sees. Meters and meters per second; x is east, y is north."""

    number: int
    x: float
    y: float
    east: float
    north: float

    @property
    def distance(self) -> float:
        return math.hypot(self.x, self.y)

    @property
    def bearing(self) -> float:
        return math.degrees(math.atan2(self.x, self.y)) % 360.0

    @property
    def sector(self) -> int:
        """1 to 8, clockwise from north."""
        return int(self.bearing // (360 / SECTORS)) + 1


class Radar:
    """Turns, and sees targets that sail by within its range."""

    type = "Radar"
    FULL_SPEED = 24.0
    """Revolutions per minute."""
    SPIN_UP = 6.0
    """Seconds to two thirds of the way to another speed."""
    AROUND = 6000.0
    """Meters from the radar where targets turn back."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.range = 2000.0
        self.mode: RadarMode = "idle"
        self.rotation = 0.0
        self.azimuth = 0.0
        self.temperature = 24.0
        self.tracked = 0
        self.targets = [self._target(number) for number in range(1, 13)]

    def _target(self, number: int) -> Target:
        angle, away = self._random.uniform(0, 2 * math.pi), self._random.uniform(200, self.AROUND * 0.8)
        course, speed = self._random.uniform(0, 2 * math.pi), self._random.uniform(2, 14)
        return Target(number, away * math.sin(angle), away * math.cos(angle), speed * math.sin(course), speed * math.cos(course))

    def step(self, seconds: float) -> None:
        wanted = 0.0 if self.mode == "idle" else self.FULL_SPEED
        self.rotation += (wanted - self.rotation) * (1 - math.exp(-seconds / self.SPIN_UP))
        self.azimuth = (self.azimuth + self.rotation * 6.0 * seconds) % 360.0
        warm = 24.0 + 18.0 * self.rotation / self.FULL_SPEED
        self.temperature += (warm - self.temperature) * (1 - math.exp(-seconds / 120.0))
        for target in self.targets:
            target.x += target.east * seconds
            target.y += target.north * seconds
            if target.distance > self.AROUND:
                target.east, target.north = -target.x / target.distance * 8, -target.y / target.distance * 8

    def contacts(self, sector: int = 0) -> list[Target]:
        """Targets within range, in one sector or all, the nearest first."""
        seen = [one for one in self.targets if one.distance <= self.range and (not sector or one.sector == sector)]
        return sorted(seen, key=lambda one: one.distance)

    def values(self) -> Json:
        return {
            "mode": self.mode,
            "range": self.range,
            "rotation": round(max(0.0, self.rotation + self._random.gauss(0, 0.05) * (self.rotation > 0.1)), 2),
            "azimuth": round(self.azimuth, 1),
            "contacts": len(self.contacts()) if self.rotation > 1 else 0,
            "temperature": round(self.temperature + self._random.gauss(0, 0.05), 1),
        }

    def look(self, sector: int) -> Json:
        """What one sweep over a sector shows."""
        return {
            "sector": sector,
            "contacts": [
                {
                    "id": one.number,
                    "bearing": round((one.bearing + self._random.gauss(0, 0.4)) % 360, 1),
                    "distance": round(one.distance + self._random.gauss(0, 3), 1),
                    "speed": round(math.hypot(one.east, one.north), 1),
                }
                for one in self.contacts(sector)
            ],
        }


class Thermostat:
    """Heats a room that loses its warmth to the outside."""

    type = "Thermostat"
    HEATER_WATTS = 2000.0
    LOSS = 60.0
    """Watts per degree of difference to the outside."""
    CAPACITY = 400_000.0
    """Joules per degree: the air, the furniture and a part of the walls."""
    HYSTERESIS = 0.3

    def __init__(self, random: Random) -> None:
        self._random = random
        self.setpoint = 20.0
        self.mode: ThermostatMode = "heat"
        self.temperature = 18.0 + random.uniform(-1, 1)
        self.outside = 6.0 + random.uniform(-4, 4)
        self.heating = False
        self.boost_seconds = 0.0
        self._day = random.uniform(0, 86_400)

    def step(self, seconds: float) -> None:
        self._day = (self._day + seconds) % 86_400
        outside = self.outside + 4 * math.sin(2 * math.pi * (self._day / 86_400 - 0.375))
        self.boost_seconds = max(0.0, self.boost_seconds - seconds)
        wanted = self.setpoint + (2.0 if self.boost_seconds else 0.0)
        if self.mode == "off":
            self.heating = False
        elif self.temperature < wanted - self.HYSTERESIS:
            self.heating = True
        elif self.temperature > wanted + self.HYSTERESIS:
            self.heating = False
        watts = self.HEATER_WATTS * self.heating
        # The exact solution of the first-order equation, so long steps are as good as short ones.
        rest = outside + watts / self.LOSS
        self.temperature = rest + (self.temperature - rest) * math.exp(-seconds * self.LOSS / self.CAPACITY)

    def values(self) -> Json:
        temperature = self.temperature + self._random.gauss(0, 0.03)
        return {
            "mode": self.mode,
            "setpoint": self.setpoint,
            "temperature": round(temperature, 2),
            "humidity": round(min(95.0, max(15.0, 62.0 - 1.4 * (temperature - 18.0) + self._random.gauss(0, 0.3))), 1),
            "power": self.HEATER_WATTS if self.heating else 0.0,
        }


class Valve:
    """Lets water through: moves at its own pace, and may get stuck."""

    type = "Valve"
    TRAVEL = 10.0
    """Percent per second."""
    FULL_FLOW = 40.0
    """Litres per minute at 3 bar."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.target = 0.0
        self.position = 0.0
        self.pressure = 3.0
        self.litres = 0.0
        self.strokes = 0
        self.jammed = False

    def step(self, seconds: float) -> None:
        self.pressure = min(4.0, max(2.0, self.pressure + self._random.gauss(0, 0.02) * math.sqrt(seconds)))
        self.litres += self.flow * seconds / 60
        if self.jammed or self.position == self.target:
            return
        way = self.target - self.position
        self.position += math.copysign(min(abs(way), self.TRAVEL * seconds), way)
        if self.position == self.target:
            self.strokes += 1

    @property
    def flow(self) -> float:
        """Litres per minute: an equal-percentage valve, tight when it is closed."""
        opened = 0.0 if self.position <= 0 else 50.0 ** (self.position / 100 - 1)
        return self.FULL_FLOW * opened * math.sqrt(self.pressure / 3.0)

    @property
    def is_moving(self) -> bool:
        return self.position != self.target

    def values(self) -> Json:
        flow = self.flow
        return {
            "position": round(self.position, 1),
            "flow": round(max(0.0, flow + self._random.gauss(0, 0.01) * flow), 2),
            "pressure": round(self.pressure, 2),
            "litres": round(self.litres, 1),
            "jammed": self.jammed,
        }


MODELS: dict[str, type[Radar] | type[Thermostat] | type[Valve]] = {"radar": Radar, "thermostat": Thermostat, "valve": Valve}
