"""What each language defines: names, line ranges, signatures."""

from __future__ import annotations

import pytest

from lsp_stablecode.context.definitions import Definition, definitions
from lsp_stablecode.context.node_types import NODE_TYPES

# Each language's sample, and what is found of it that is public:
# first and last line, container and name, header.
SAMPLES: dict[str, tuple[str, str]] = {
    "python": (
        """\
import os
LIMIT = 3
@cache
def area(width: int, height: int = 2) -> int:
    \"\"\"Return the area.\"\"\"
    return width * height

class Shape(Base):
    \"\"\"A shape.\"\"\"
    name: str = "x"
    def __init__(self, a):
        self.a = a
    @property
    def size(self) -> int:
        return 1
    async def load(self): pass
if TYPE_CHECKING:
    def inner(): pass
""",
        """\
1-1 LIMIT: LIMIT = 3
2-5 area: @cache / def area(width: int, height: int = 2) -> int: ...
7-15 Shape: class Shape(Base):
9-9 Shape.name: name: str = "x"
10-11 Shape.__init__: def __init__(self, a): ...
12-14 Shape.size: @property / def size(self) -> int: ...
15-15 Shape.load: async def load(self): ...
17-17 inner: def inner(): ...
""",
    ),
    "javascript": (
        """\
import {a} from './b';
export const LIMIT = 3;
/** Return the area. */
export function area(w, h) { return w*h; }
export default class Shape extends Base {
  static count = 0;
  #hidden = 1;
  constructor(a) { this.a = a; }
  async load(x) { return 1; }
  get size() { return 1; }
}
const scale = (x) => { return x * 2; };
const later = async function (y) { return y; };
module.exports = { area };
exports.other = function (z) {};
module.exports.third = (q) => q;
Shape.prototype.draw = function (ctx) {};
""",
        """\
1-1 LIMIT: export const LIMIT = 3
3-3 area: export function area(w, h)
4-10 Shape: export default class Shape extends Base
5-5 Shape.count: static count = 0
7-7 Shape.constructor: constructor(a)
8-8 Shape.load: async load(x)
9-9 Shape.size: get size()
11-11 scale: const scale = (x)
12-12 later: const later = async function (y)
14-14 other: exports.other = function (z)
15-15 third: module.exports.third = (q)
16-16 Shape.draw: Shape.prototype.draw = function (ctx)
""",
    ),
    "typescript": (
        """\
export interface Point { x: number; y?: string; move(dx: number): void }
export type Id = string | number;
export enum Color { Red, Green }
export abstract class Shape<T> implements Point {
  private x: number = 1;
  constructor(public a: string) {}
  protected abstract area(): number;
  static make<T>(v: T): Shape<T> { return null; }
}
export const scale = (x: number): number => { return x * 2; };
declare function outer(a: string): void;
namespace Geo { export function inner(a: number) { return a } }
export default function main() {}
""",
        """\
0-0 Point: export interface Point
0-0 Point.x: x: number
0-0 Point.y: y?: string
0-0 Point.move: move(dx: number): void
1-1 Id: export type Id = string | number;
2-2 Color: export enum Color
3-8 Shape: export abstract class Shape<T> implements Point
5-5 Shape.constructor: constructor(public a: string)
6-6 Shape.area: protected abstract area(): number
7-7 Shape.make: static make<T>(v: T): Shape<T>
9-9 scale: export const scale = (x: number): number
10-10 outer: declare function outer(a: string): void;
11-11 Geo.inner: export function inner(a: number)
12-12 main: export default function main()
""",
    ),
    "java": (
        """\
package a.b;
/** A shape. */
@Deprecated
public class Shape extends Base implements Thing {
  private int x = 1;
  public static final int LIMIT = 3;
  public Shape(int x) { this.x = x; }
  @Override
  public int area(int w, int h) throws IOException { return w*h; }
  enum Kind { A, B }
}
interface Thing { int size(); default int two() { return 2; } }
enum Color { RED, GREEN; int code() { return 1; } }
record Point(int x, int y) { int sum() { return x+y; } }
""",
        """\
2-10 Shape: public class Shape extends Base implements Thing
5-5 Shape.LIMIT: public static final int LIMIT = 3;
6-6 Shape.Shape: public Shape(int x)
7-8 Shape.area: public int area(int w, int h) throws IOException
9-9 Shape.Kind: enum Kind
9-9 Kind.A: A
9-9 Kind.B: B
11-11 Thing: interface Thing
11-11 Thing.size: int size();
11-11 Thing.two: default int two()
12-12 Color: enum Color
12-12 Color.RED: RED
12-12 Color.GREEN: GREEN
12-12 Color.code: int code()
13-13 Point: record Point(int x, int y)
13-13 Point.sum: int sum()
""",
    ),
    "c": (
        """\
#include "x.h"
#define LIMIT 3
#define SQUARE(x) ((x) * (x))
typedef struct point { int x; int y; } point_t;
struct shape { int a; char *b; };
enum color { RED, GREEN };
typedef int (*callback)(int);
static const int *find(struct shape *s, int n) { return 0; }
int area(int w, int h);
extern int counter;
int table[3] = {1,2,3};
#ifdef X
void inside(void) {}
#endif
""",
        """\
1-1 LIMIT: #define LIMIT 3
2-2 SQUARE: #define SQUARE(x) ((x) * (x))
3-3 point_t: typedef struct point { int x; int y; } point_t;
4-4 shape: struct shape
4-4 shape.a: int a;
4-4 shape.b: char *b;
5-5 color: enum color
5-5 color.RED: RED
5-5 color.GREEN: GREEN
7-7 find: static const int *find(struct shape *s, int n)
8-8 area: int area(int w, int h);
9-9 counter: extern int counter;
10-10 table: int table[3] = {1,2,3};
12-12 inside: void inside(void)
""",
    ),
    "cpp": (
        """\
#pragma once
namespace geo {
template <typename T>
class Shape : public Base {
 public:
  Shape(int a) : a_(a) {}
  virtual int area(int w) const;
  int inline_one() { return 1; }
 private:
  int a_;
};
int Shape::area(int w) const { return w; }
auto f(int x) -> int { return x; }
using Id = int;
enum class Color { Red };
struct P { int x; int operator+(const P& o) { return 1; } };
}
template <class T> T biggest(T a, T b) { return a; }
extern "C" { void cfun(int a); }
""",
        """\
2-10 geo.Shape: template <typename T> class Shape : public Base
5-5 Shape.Shape: Shape(int a)
6-6 Shape.area: virtual int area(int w) const;
7-7 Shape.inline_one: int inline_one()
11-11 Shape.area: int Shape::area(int w) const
12-12 geo.f: auto f(int x) -> int
13-13 geo.Id: using Id = int;
14-14 geo.Color: enum class Color
14-14 Color.Red: Red
15-15 geo.P: struct P
15-15 P.x: int x;
15-15 P.operator: int operator+(const P& o)
17-17 biggest: template <class T> T biggest(T a, T b)
18-18 cfun: void cfun(int a);
""",
    ),
    "csharp": (
        """\
using System;
namespace A.B {
  /// <summary>A shape.</summary>
  public class Shape : Base {
    private int x = 1;
    public int Size { get; set; }
    public Shape(int a) { }
    public int Area(int w, int h) => w * h;
    public async Task<int> Load(string s) { return 1; }
  }
  public interface IThing { int Two(); }
  public record Point(int X, int Y);
  public enum Color { Red, Green }
  struct S { public int y; }
}
""",
        """\
3-9 B.Shape: public class Shape : Base
5-5 Shape.Size: public int Size { get; set; }
6-6 Shape.Shape: public Shape(int a)
7-7 Shape.Area: public int Area(int w, int h)
8-8 Shape.Load: public async Task<int> Load(string s)
10-10 B.IThing: public interface IThing
10-10 IThing.Two: int Two();
11-11 B.Point: public record Point(int X, int Y);
12-12 B.Color: public enum Color
12-12 Color.Red: Red
12-12 Color.Green: Green
13-13 B.S: struct S
13-13 S.y: public int y;
""",
    ),
    "go": (
        """\
package geo
import "fmt"
// Limit is it.
const Limit = 3
const ( A = iota; B )
var Default = New()
type Shape struct { W int; h int }
type Thing interface { Area(w int) int }
type ID = string
// Area returns it.
func Area(w, h int) int { return w*h }
func (s *Shape) Size(a int) (int, error) { return 1, nil }
""",
        """\
3-3 Limit: const Limit = 3
4-4 A: const A = iota
4-4 B: const B
5-5 Default: var Default = New()
6-6 Shape: type Shape
6-6 Shape.W: W int
6-6 Shape.h: h int
7-7 Thing: type Thing
7-7 Thing.Area: Area(w int) int
8-8 ID: type ID = string
10-10 Area: func Area(w, h int) int
11-11 Shape.Size: func (s *Shape) Size(a int) (int, error)
""",
    ),
    "rust": (
        """\
use crate::a::b;
mod x;
/// A shape.
#[derive(Debug)]
pub struct Shape { pub w: u32, h: u32 }
pub enum Color { Red, Green(u8) }
pub trait Thing { fn two(&self) -> u32; fn three(&self) -> u32 { 3 } }
impl Thing for Shape { fn two(&self) -> u32 { 2 } }
impl<T> Shape { pub fn new(w: u32) -> Self { Self { w, h: 1 } } }
pub const LIMIT: u32 = 3;
pub fn area(w: u32, h: u32) -> u32 { w * h }
type Id = u32;
macro_rules! sq { ($x:expr) => { $x * $x } }
mod inner { pub fn deep() {} }
static S: u8 = 1;
""",
        """\
4-4 Shape: pub struct Shape
4-4 Shape.w: pub w: u32
4-4 Shape.h: h: u32
5-5 Color: pub enum Color
5-5 Color.Red: Red
5-5 Color.Green: Green(u8)
6-6 Thing: pub trait Thing
6-6 Thing.two: fn two(&self) -> u32;
6-6 Thing.three: fn three(&self) -> u32
7-7 Shape: impl Thing for Shape
7-7 Shape.two: fn two(&self) -> u32
8-8 Shape: impl<T> Shape
8-8 Shape.new: pub fn new(w: u32) -> Self
9-9 LIMIT: pub const LIMIT: u32 = 3;
10-10 area: pub fn area(w: u32, h: u32) -> u32
11-11 Id: type Id = u32;
12-12 sq: macro_rules! sq
13-13 inner.deep: pub fn deep()
14-14 S: static S: u8 = 1;
""",
    ),
    "php": (
        """\
<?php
namespace A\\B;
use X\\Y;
const LIMIT = 3;
function area(int $w, int $h): int { return $w*$h; }
/** A shape. */
final class Shape extends Base implements Thing {
  use T;
  const A = 1;
  private int $x = 1;
  public function __construct(private int $a) {}
  public static function make(string $s): self { return 1; }
}
interface Thing { public function two(): int; }
trait T { function three() {} }
enum Suit: string { case Hearts = 'H'; public function label(): string { return ''; } }
""",
        """\
3-3 LIMIT: const LIMIT = 3;
4-4 area: function area(int $w, int $h): int
6-12 Shape: final class Shape extends Base implements Thing
8-8 Shape.A: const A = 1;
10-10 Shape.__construct: public function __construct(private int $a)
11-11 Shape.make: public static function make(string $s): self
13-13 Thing: interface Thing
13-13 Thing.two: public function two(): int;
14-14 T: trait T
14-14 T.three: function three()
15-15 Suit: enum Suit: string
15-15 Suit.Hearts: case Hearts = 'H';
15-15 Suit.label: public function label(): string
""",
    ),
    "ruby": (
        """\
require_relative 'x'
LIMIT = 3
module Geo
  # A shape.
  class Shape < Base
    attr_reader :w, :h
    def initialize(w, h = 1)
      @w = w
    end
    def self.make(a)
      new(a)
    end
    private
    def hidden; end
  end
end
def area(w, h)
  w * h
end
""",
        """\
1-1 LIMIT: LIMIT = 3
4-14 Geo.Shape: class Shape < Base
5-5 Shape.attr_reader: attr_reader :w, :h
6-8 Shape.initialize: def initialize(w, h = 1)
9-11 Shape.make: def self.make(a)
16-18 area: def area(w, h)
""",
    ),
    "kotlin": (
        """\
package a.b
import x.y
const val LIMIT = 3
/** area */
fun area(w: Int, h: Int = 2): Int { return w * h }
fun twice(x: Int) = x * 2
fun String.shout(): String = this
data class Point(val x: Int, val y: Int) : Base() {
  val size: Int = 1
  fun sum(): Int { return x + y }
  companion object {
    fun make(): Point = Point(1,2)
  }
}
interface Thing {
  fun two(): Int
}
object Single {
  fun one() = 1
}
enum class Color { RED, GREEN }
typealias Id = String
""",
        """\
2-2 LIMIT: const val LIMIT = 3
4-4 area: fun area(w: Int, h: Int = 2): Int
5-5 twice: fun twice(x: Int)
6-6 shout: fun String.shout(): String
7-13 Point: data class Point(val x: Int, val y: Int) : Base()
8-8 Point.size: val size: Int = 1
9-9 Point.sum: fun sum(): Int
10-12 Point.Point: companion object
11-11 Point.make: fun make(): Point
14-16 Thing: interface Thing
15-15 Thing.two: fun two(): Int
17-19 Single: object Single
18-18 Single.one: fun one()
20-20 Color: enum class Color
20-20 Color.RED: RED
20-20 Color.GREEN: GREEN
21-21 Id: typealias Id = String
""",
    ),
    "swift": (
        """\
import Foundation
let limit = 3
func area(_ w: Int, h: Int) -> Int { return w * h }
public class Shape: Base {
  var x: Int = 1
  init(a: Int) { self.x = a }
  func size(by n: Int) throws -> Int { return n }
  static func make() -> Shape { return Shape(a: 1) }
}
struct Point { let x: Int; let y: Int }
enum Color { case red, green; func code() -> Int { 1 } }
protocol Thing { func two() -> Int; var n: Int { get } }
extension Shape { func extra() {} }
typealias Id = String
""",
        """\
1-1 limit: let limit = 3
2-2 area: func area(_ w: Int, h: Int) -> Int
3-8 Shape: public class Shape: Base
4-4 Shape.x: var x: Int = 1
5-5 Shape.init: init(a: Int)
6-6 Shape.size: func size(by n: Int) throws -> Int
7-7 Shape.make: static func make() -> Shape
9-9 Point: struct Point
9-9 Point.x: let x: Int
9-9 Point.y: let y: Int
10-10 Color: enum Color
10-10 Color.red: case red, green;
10-10 Color.code: func code() -> Int
11-11 Thing: protocol Thing
11-11 Thing.two: func two() -> Int
11-11 Thing.n: var n: Int { get }
12-12 Shape: extension Shape
12-12 Shape.extra: func extra()
13-13 Id: typealias Id = String
""",
    ),
    "scala": (
        """\
package a.b
import x.y
object Geo {
  val Limit = 3
  def area(w: Int, h: Int): Int = { w * h }
}
case class Point(x: Int, y: Int) extends Base {
  def sum: Int = x + y
}
trait Thing { def two(): Int; val n: Int }
class Shape(a: Int) { private val b = 1; def size(n: Int): Int = n }
type Id = String
def top(a: Int) = a
enum Color { case Red, Green }
""",
        """\
2-5 Geo: object Geo
3-3 Geo.Limit: val Limit = 3
4-4 Geo.area: def area(w: Int, h: Int): Int
6-8 Point: case class Point(x: Int, y: Int) extends Base
7-7 Point.sum: def sum: Int
9-9 Thing: trait Thing
9-9 Thing.two: def two(): Int
9-9 Thing.n: val n: Int
10-10 Shape: class Shape(a: Int)
10-10 Shape.size: def size(n: Int): Int
11-11 Id: type Id = String
12-12 top: def top(a: Int)
13-13 Color: enum Color
13-13 Color.Red: case Red, Green
""",
    ),
    "shellscript": (
        """\
#!/bin/sh
LIMIT=3
area() { echo $(($1*$2)); }
function scale { echo hi; }
function both() { echo hi; }
if true; then inside() { :; }; fi
""",
        """\
1-1 LIMIT: LIMIT=3
2-2 area: area()
3-3 scale: function scale
4-4 both: function both()
5-5 inside: inside()
""",
    ),
    "sql": (
        """\
CREATE TABLE IF NOT EXISTS shop.users (id INT PRIMARY KEY, name TEXT NOT NULL);
CREATE VIEW v AS SELECT id FROM users;
CREATE FUNCTION area(w int, h int) RETURNS int AS $$ SELECT w*h $$ LANGUAGE sql;
CREATE INDEX i ON users (name);
CREATE TYPE color AS ENUM ('red','green');
SELECT * FROM users;
""",
        """\
0-0 users: CREATE TABLE IF NOT EXISTS shop.users
0-0 users.id: id INT PRIMARY KEY
0-0 users.name: name TEXT NOT NULL
1-1 v: CREATE VIEW v AS
2-2 area: CREATE FUNCTION area(w int, h int) RETURNS int
4-4 color: CREATE TYPE color AS ENUM ('red','green')
""",
    ),
    "css": (
        """\
:root { --gap: 4px; }
.card > .title, #main { color: red; padding: 3px; }
@media (max-width: 3px) { .card { color: blue; } }
@keyframes spin { from { top: 0 } to { top: 1px } }
""",
        """\
0-0 root: :root { --gap: 4px; }
1-1 #main: .card > .title, #main { color: red; padding: 3px; }
2-2 card: .card { color: blue; }
3-3 spin: @keyframes spin { from { top: 0 } to { top: 1px } }
""",
    ),
    "html": (
        """\
<!doctype html>
<html><head><title>T</title></head><body>
<div id="main" class="card wide">
<p class="x">hi</p>
<form id="f"><input name="q"></form></div>
<script>function f(){}</script>
</body></html>
""",
        """\
2-2 main: <div id="main" class="card wide">
3-3 x: <p class="x">
4-4 f: <form id="f">
""",
    ),
    "lua": (
        """\
local M = {}
local LIMIT = 3
local function area(w, h) return w*h end
function M.scale(x) return x end
function M:method(a) return a end
M.other = function(z) return z end
local later = function(q) return q end
function global_one(a) end
return M
""",
        """\
0-0 M: local M = {}
1-1 LIMIT: local LIMIT = 3
2-2 area: local function area(w, h)
3-3 M.scale: function M.scale(x)
4-4 M.method: function M:method(a)
5-5 M.other: M.other = function(z)
6-6 later: local later = function(q)
7-7 global_one: function global_one(a)
""",
    ),
    "typescriptreact": (
        """\
export function Card(props: { title: string }) { return <b>{props.title}</b>; }
""",
        """\
0-0 Card: export function Card(props: { title: string })
""",
    ),
    "javascriptreact": (
        """\
export const Card = ({ title }) => <b>{title}</b>;
""",
        """\
0-0 Card: export const Card = ({ title })
""",
    ),
}


def _shown(one: Definition) -> str:
    name = f"{one.container}.{one.name}" if one.container else one.name
    header = one.header.replace("\n", " / ")
    return f"{one.first_line}-{one.last_line} {name}: {header}\n"


@pytest.mark.parametrize("language_id", SAMPLES)
def test_definitions_of_each_language(language_id: str) -> None:
    """Names, containers, line ranges and headers, in the source's order."""
    source, expected = SAMPLES[language_id]
    found = definitions(source, language_id)
    assert "".join(_shown(one) for one in found if one.is_public) == expected


def test_every_language_with_types_has_a_sample() -> None:
    """What is promised of a language is shown by a sample of it."""
    same = {"bash": "shellscript", "sh": "shellscript", "zsh": "shellscript"}
    assert {same.get(one, one) for one in NODE_TYPES} == set(SAMPLES)


def test_a_class_is_its_header_and_its_public_members() -> None:
    """The signature of a type is what its users need of it."""
    source = (
        "class Shape(Base):\n"
        '    """A shape."""\n'
        "    sides: int = 0\n"
        "    def area(self, scale: float = 1) -> float:\n"
        '        """Return the area."""\n'
        "        return scale\n"
        "    def _hidden(self): ...\n"
    )
    shape, _, area, hidden = definitions(source, "python")
    assert shape.signature == (
        "class Shape(Base):\n"
        "    sides: int = 0\n"
        "    def area(self, scale: float = 1) -> float: ..."
    )
    assert (shape.doc, area.doc) == ("A shape.", "Return the area.")
    assert (area.is_member, area.is_public, hidden.is_public) == (True, True, False)


def test_a_long_header_is_one_short_line() -> None:
    """A header over many lines costs no more tokens than it must."""
    source = (
        "def area(\n    width: int,\n    height: int,\n) -> int:\n    # no\n    ...\n"
    )
    (area,) = definitions(source, "python")
    assert area.header == "def area(width: int, height: int) -> int: ..."
    (many,) = definitions(
        f"def f({', '.join(f'a{n}' for n in range(500))}): ...", "python"
    )
    assert len(many.header) < 400


@pytest.mark.parametrize("language_id", SAMPLES)
def test_half_a_source_is_no_error(language_id: str) -> None:
    """Whoever types has sources that do not parse."""
    source, _ = SAMPLES[language_id]
    for end in range(0, len(source), 7):
        found = definitions(source[:end], language_id)
        assert all(one.first_line <= one.last_line for one in found)


def test_no_grammar_no_definitions() -> None:
    """Prose defines nothing."""
    assert definitions("# Title\n\ndef area(): ...\n", "markdown") == ()
