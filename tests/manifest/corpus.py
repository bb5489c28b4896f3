"""Texts of YAML, ordinary and hostile, on which several ways of reading are compared."""

MANIFESTS = [
    """\
apiVersion: reconciler/v1alpha1
kind: Network
metadata: {name: web, namespace: shop}
spec:
  vpc: shop                      # in the same namespace
  cidrs: [10.1.0.0/24, 2001:db8:1::/64]
  bouncers: {count: 2, zones: spread}
""",
    """\
apiVersion: reconciler/v1alpha1
kind: Endpoint
metadata:
  name: web-1
  namespace: shop
  labels:
    app: web
    "tier": 'front'
spec:
  network: web
  host: edge-1
  addresses:
  - 10.1.0.11
  - 2001:db8:1::11
  attach: {veth: {netns: shop.web-1}}    # or {interface: ...}
  ports:
    - name: http
      port: 8080
    - {name: https, port: 8443}
""",
    """\
# a comment first
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
""",
]

SNIPPETS = """\
a: 1
a: b c
a:  b
a: b  c
a : b
a:b
a: b:c
a: b: c
a: b:
a: 2001:db8::
a: ::1
a: [2001:db8::1, ::1]
a: [2001:db8::]
a: [a:, b]
a: [a: b]
a: [a, b, ]
a: [, a]
a: [a,,b]
a: [a b, c]
a: [[a], [b, [c]]]
a: {b: 1, c: 2}
a: {b: 1, b: 2}
a: {b:1}
a: {b: , c: 1}
a: {b, c}
a: {"b":1}
a: {"b": 1}
a: {'b': "c"}
a: {b: [c, {d: e}]}
a: {}
a: []
a: [ ]
a: { }
a: [a]b
a: [a] b
a: [a
a: a]
a: {a
a: a}
a: "b"
a: 'b'
a: 'it''s'
a: "b\\n"
a: "b\\u0041"
a: "b" c
a: "b
a: 'b # c'
a: "b: c"
a: "#"
a: #
a: # b
a: b #c
a: b#c
a: b # c # d
a: 'b' # c
a: "b" # c's
a: [b, c] # d
a: [b #, c]
a: -
a: - b
a: -b
a: -1
a: --- b
a: ...
a: +1
a: =
a: =b
a: @b
a: `b`
a: %b
a: !b
a: !!str b
a: &b c
a: *b
a: |
a: >-
a: ?
a: ? b
a: ,
a: b,c
a: b, c
a: b/c=d+e@f
a: .
a: .5
a: ~
a: null
a: true
a: no
a: 010
a: 0x1f
a: 12:34:56:12:34:56
a: 1_000
a: 2001-01-01
a: <<
<<: {a: b}
=: a
on: a
1: a
null: a
true: a
~: a
: a
? a
? a : b
"a": b
'a': b
a b: c
a-b: c
a/b.c_d: e
-a: b
- a
- a: b
-  a: b
- - a
-
- [a, b]
- {a: b}
- "a"
-a
a
"a"
[a, b]
{a: b}
%YAML 1.2
%YAML 1.1
%TAG ! !
--- a
---
---a: b
...
a:\tb
a: b\t
\ta: b
a: b\tc
  a: b
a:
a:
 # a
#a
a: é
é: a
a: 99999999999999999999
a: .inf
a: 1e400
a: 1e3
a: *a
a: [&b c, *b]
a: &a [*a]
""".replace("\\t", "\t").splitlines()

STRUCTURES = [
    "a:\n  b: c\n",
    "a:\n b: c\n",
    "a:\n  b: c\n d: e\n",
    "a:\n  b: c\n   d: e\n",
    "a: b\n  c: d\n",
    "a: b\n  c\n",
    "a: b\n c\nd: e\n",
    "a: [b,\n c]\n",
    "a: {b: c,\n  d: e}\n",
    'a: "b\n  c"\n',
    "a:\n- b\n- c\n",
    "a:\n  - b\n  - c\n",
    "a:\n  - b\n - c\n",
    "a:\n  - b\n  c: d\n",
    "a:\n- b\nc: d\n",
    "a:\n- b: c\n  d: e\n- f: g\n",
    "a:\n- b: c\n d: e\n",
    "a:\n- b: c\n   d: e\n",
    "a:\n- b:\n  - c\n  d: e\n",
    "a:\n- b:\n- c\n",
    "a:\n-   b: c\n    d: e\n",
    "a:\n- b\n  c\n",
    "a:\n- b\n  - c\n",
    "a:\n-\n  b: c\n",
    "- a: b\n  c: d\n- e\n",
    "- a\nb: c\n",
    "a: b\n- c\n",
    "a:\nb:\n",
    "a:\n\n\n  b: c\n\n",
    "a:\n  # comment\n  b: c\n# comment\nd: e\n",
    "a: b\n# comment\n  c\n",
    "a: |\n  b\n  c\nd: e\n",
    "a: >\n  b\n\n  c\n",
    "a: b\na: c\n",
    "a:\n  b: c\n  b: d\n",
    "a: b\n...\n",
    "a: b\n...\nc: d\n",
    "a: &x {b: c}\nd: *x\n",
    "a: &x [b]\nd: [*x, *x]\n",
    "? a\n: b\n",
    "? [a]\n: b\n",
    "{a: b}: c\n",
    "a: b\r\nc: d\r\n",
    "a: b\rc: d\n",
    "  a: b\n  c: d\n",
    "  a: b\nc: d\n",
    " a: b\n  c: d\n",
    "a:\n      b:\n        c:\n          - d\n",
    "a: b",
    "",
    "\n\n",
    "# only a comment\n",
    "a: 'b\n\n  c'\n",
    "a: {b: [c, d], e: {f: g}}\n",
    "a: {b: {c: {d: {e: {f: {g: {h: i}}}}}}}\n",
    "[" * 40 + "]" * 40,
    "".join(f"{' ' * level}a:\n" for level in range(40)),
    "a:\n  - - b\n    - c\n",
    "a: b # c\n  d\n",
    "a: # c\n  b: d\n",
    "a: # c\n- b\n",
    "a: \n",
    "a:   \n  b: c   \n",
    "- # c\n  b\n",
    "-  \n",
    "a:\n  b: [1, two, '3']\n  c: \"four\"\n",
    f"{'k' * 1030}: b\n",
    f"a: {{{'k' * 1030}: b}}\n",
    f"a: {'v' * 3000}\n",
]

STREAMS = [
    "a: b\n---\nc: d\n",
    "---\na: b\n---\nc: d\n",
    "---\n---\n---\n",
    "--- # comment\na: b\n",
    "# comment\n---\na: b\n",
    "# comment\n\n---\n# comment\n---\na: b\n",
    "%YAML 1.2\n---\na: b\n",
    "# comment\n%YAML 1.2\n---\na: b\n---\nc: d\n",
    "a: b\n...\n---\nc: d\n",
    "a: b\n...\nc: d\n---\ne: f\n",
    "--- {a: b}\n--- [c]\n",
    "--- |\n text\n---\na: b\n",
    "a: 'b\n  ---\n c'\n---\nd: e\n",
    "a: |\n  ---\n  b\n---\nd: e\n",
    "a: b\n ---\n",
    "---\r\na: b\r\n---\r\nc: d\r\n",
    "---\n",
    "---",
    "a: b\n---",
]

TEXTS = [*MANIFESTS, *(f"{line}\n" for line in SNIPPETS), *STRUCTURES]
