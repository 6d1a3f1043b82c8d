"""The syntax tree of a Go template. `str(node)` is the form in which Go quotes it in error messages."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Node:
    """`pos` is the offset of the node in the source, in characters."""

    pos: int


@dataclass(frozen=True)
class Bool(Node):
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True)
class Nil(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(frozen=True)
class Dot(Node):
    def __str__(self) -> str:
        return "."


@dataclass(frozen=True)
class Number(Node):
    """`value` is what it is where any type will do; `as_int` what it is where an int is wanted (None: it is none)."""

    text: str
    value: int | float | complex
    as_int: int | None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class String(Node):
    text: str
    quoted: str

    def __str__(self) -> str:
        return self.quoted


@dataclass(frozen=True)
class Function(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Field(Node):
    """`.A.B`: fields of dot."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(frozen=True)
class Variable(Node):
    """`$x.A.B`; `name` carries the dollar sign."""

    name: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.name, *self.names))


@dataclass(frozen=True)
class Chain(Node):
    """`(pipeline).A.B` or `function.A.B`."""

    operand: Node
    names: tuple[str, ...]

    def __str__(self) -> str:
        inner = f"({self.operand})" if isinstance(self.operand, Pipe) else str(self.operand)
        return ".".join((inner, *self.names))


@dataclass(frozen=True)
class Command(Node):
    """A word and its arguments."""

    words: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(f"({word})" if isinstance(word, Pipe) else str(word) for word in self.words)


@dataclass(frozen=True)
class Pipe(Node):
    """Commands, each handing its value to the next; `declared` takes the last one's."""

    commands: tuple[Command, ...]
    declared: tuple[Variable, ...] = ()
    assigns: bool = False

    def __str__(self) -> str:
        left = ", ".join(map(str, self.declared))
        return (f"{left} := " if left else "") + " | ".join(map(str, self.commands))


@dataclass(frozen=True)
class Text(Node):
    text: str


@dataclass(frozen=True)
class Action(Node):
    pipe: Pipe


@dataclass(frozen=True)
class Branch(Node):
    """`if`, `range` or `with`; `otherwise` is None without an else."""

    kind: str
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] | None


@dataclass(frozen=True)
class Break(Node):
    pass


@dataclass(frozen=True)
class Continue(Node):
    pass


@dataclass(frozen=True)
class Invoke(Node):
    """`{{template "name" pipeline}}`; `block` makes one as well."""

    name: str
    pipe: Pipe | None


@dataclass
class Tree:
    """A parsed file: its own body, and the templates it defines by name."""

    name: str
    source: str
    body: tuple[Node, ...] = ()
    defined: dict[str, tuple[Node, ...]] = field(default_factory=dict)

    def place(self, pos: int) -> tuple[int, int]:
        """Line from 1 and column from 0 as Go counts them: in bytes."""
        start = self.source.rfind("\n", 0, pos) + 1
        column = len(self.source[start:pos].encode("utf-8", "surrogatepass"))
        return self.source.count("\n", 0, pos) + 1, column
