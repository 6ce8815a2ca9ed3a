"""The Workato stand-in's account: customer workspaces and their recipes, some of which get deleted."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from sync.sandbox.bits import mix_bits
from sync.sandbox.world import World

RECIPES = 130  # at scale 1
FEW = 12  # workspaces that an account of usual size has
BUSY_HOURS = 20  # of every day, where `records_per_day` is set; hours 4 to 23 know no DST change
SLOT, GENERATION = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F

CUSTOMERS = (
    ("Acme Logistics", "cust-acme", 22),
    ("Bäckerei Süßmilch GmbH", "cust-0002", 9),
    ("株式会社ひまわり", "cust-himawari", 12),
    ("Société Générale d'Été", None, 7),
    ("Contoso, Ltd.", "cust-contoso", 18),
    ('"Quoted" & Sons', "cust/quoted+sons", 5),
    ("Initech", None, 11),
    ("Öresund Data AB", "cust-öresund", 8),
    ("=SUM(Umbrella)", "cust-umbrella", 6),
    ("Жемчужина", "cust-0010", 10),
    ("Globex 🌍", "cust-globex", 14),
    ("Sandbox (internal)", None, 8),
)
WORK = (
    "Sync orders to NetSuite",
    "New lead → Salesforce",
    "Invoice approval",
    "Rechnungen nach DATEV übertragen",
    "Employee onboarding",
    "Slack alert on failed payment",
    "Nightly stock reconciliation",
    "請求書の同期",
    "Export usage, weekly",
    "Ticket triage",
    "Update HubSpot contact",
    "Archive e-mails",
)
FOLDERS = ("Orders", "Finance", "HR", "Büro", "Operations", "営業")
ROUND_THE_CLOCK, NIGHTLY, OFFICE, STEADY = "round the clock", "nightly", "office", "steady"


@dataclass(frozen=True, slots=True)
class SandboxWorkspace:
    """The workspace of a customer."""

    id: int
    external_id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe; it runs at its `minute` of an hour and a failed job is tried again `delay` hours later.

    `created` and `deleted` are hours since 1970, `deleted` None for a recipe that stays. `hours`: how many of a
    day's hours a steady recipe runs in.
    """

    id: int
    name: str
    folder_id: int
    folder_name: str
    workspace: SandboxWorkspace
    bits: int
    rhythm: str
    minute: int
    delay: int
    steps: int
    created: int
    deleted: int | None
    hours: int = BUSY_HOURS

    def runs_at(self, hour: int, weekday: int) -> bool:
        """Return whether it runs in an hour of the day (local, 0..23) on a weekday (Monday is 1)."""
        if self.rhythm == STEADY:
            return 24 - BUSY_HOURS <= hour < 24 - BUSY_HOURS + self.hours
        if self.rhythm == NIGHTLY:
            return hour == self.bits % 5
        if self.rhythm == OFFICE:
            return weekday < 6 and 7 + self.bits % 3 <= hour < 16 + self.bits % 4
        return weekday < 6 or hour % 3 == 0 or bool(self.bits & 32)


class WorkatoAccount:
    """All workspaces and recipes; one recipe after the other takes a place."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.base = world.roll("workato")
        exact = world.records_per_day
        self.places = -(-exact // BUSY_HOURS) if exact is not None else max(1, round(RECIPES * world.scale))
        self.spare = self.places * BUSY_HOURS - exact if exact is not None else 0
        self.workspaces = build_workspaces(max(FEW, self.places // 30 if self.places > 400 else 0), self.base)
        weights = list(accumulate(CUSTOMERS[number % FEW][2] for number in range(len(self.workspaces))))
        self.owners = [
            self.workspaces[bisect_right(weights, place * weights[-1] // self.places)] for place in range(self.places)
        ]
        self._recipes: dict[int, Recipe] = {}

    def get_recipe(self, place: int, hour: int) -> Recipe:
        """Return the recipe that has a place in an hour (since 1970)."""
        recipe = self._recipes.get(place)
        if recipe is None or not recipe.created <= hour < (recipe.deleted or hour + 1):
            recipe = self._recipes[place] = self._build_recipe(place, hour)
        return recipe

    def _build_recipe(self, place: int, hour: int) -> Recipe:
        bits = mix_bits(self.base + place * SLOT)
        exact = self.world.records_per_day is not None
        if exact or bits & 3:
            return self._describe_recipe(place, 0, bits, created=0, deleted=None)
        length = 24 * (20 + (bits >> 8) % 70)
        shift = (bits >> 24) % length
        generation = (hour + shift) // length
        created = generation * length - shift
        bits = mix_bits(bits + generation * GENERATION)
        return self._describe_recipe(place, generation, bits, created=created, deleted=created + length)

    def _describe_recipe(self, place: int, generation: int, bits: int, *, created: int, deleted: int | None) -> Recipe:
        workspace = self.owners[place]
        exact = self.world.records_per_day is not None
        rhythm = STEADY if exact else (ROUND_THE_CLOCK, NIGHTLY, OFFICE, OFFICE, OFFICE)[(bits >> 16) % 5]
        folder = (bits >> 20) % len(FOLDERS)
        return Recipe(
            id=1_000_000 + place * 10_000 + generation % 10_000,
            name=f"{WORK[(bits >> 28) % len(WORK)]} {place % 90 + 10}",
            folder_id=workspace.id * 10 + folder,
            folder_name=FOLDERS[folder],
            workspace=workspace,
            bits=bits,
            rhythm=rhythm,
            minute=(bits >> 34) % 60,
            delay=2 + (bits >> 40) % 19,
            steps=1 + (bits >> 46) % 12,
            created=created,
            deleted=deleted,
            hours=BUSY_HOURS - self.spare if place == self.places - 1 else BUSY_HOURS,
        )


def build_workspaces(count: int, base: int) -> list[SandboxWorkspace]:
    """Return the workspaces, in the order of their ids; from the thirteenth on they are plain customers."""
    workspaces = []
    for number in range(count):
        name, external_id, _ = CUSTOMERS[number % FEW]
        if number >= FEW:
            name, external_id = f"Customer {number + 1:05d}", f"cust-{number + 1:05d}"
        workspaces.append(SandboxWorkspace(310_000 + number * 37 + mix_bits(base + number) % 37, external_id, name))
    return workspaces
