"""Which nodes of each language's grammar define something, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from lsp_stablecode.context.words import word_set


@dataclass(frozen=True, slots=True)
class NodeTypes:
    """The types of nodes that matter in one grammar.

    ``functions`` have a header and a body; ``types`` have members in their body;
    ``values`` are short and shown from their start. ``wrappers`` stand around one
    definition and begin its header (``export``, ``template <…>``); ``through`` are
    looked into and add nothing. ``lambdas`` are functions without a name, which a
    value may hold; of ``lambda_values`` only those that do count. ``bodies`` are
    types of bodies that no field names. ``end`` closes a header whose body is left
    out.
    """

    functions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    wrappers: frozenset[str] = frozenset()
    through: frozenset[str] = frozenset()
    lambdas: frozenset[str] = frozenset()
    lambda_values: frozenset[str] = frozenset()
    bodies: frozenset[str] = frozenset()
    end: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    by_language: dict[str, NodeTypes] = field(default_factory=dict)

    def add(self, languages: str, end: str = "", **types: str) -> None:
        """Enter the same types, given as words, for several languages."""
        sets = {name: word_set(text) for name, text in types.items()}
        entry = NodeTypes(end=end, **sets)
        for language in languages.split():
            self.by_language[language] = entry


_TABLE = _Table()
_TABLE.add(
    "python",
    end=" ...",
    functions="function_definition",
    types="class_definition",
    values="assignment type_alias_statement",
    wrappers="decorated_definition expression_statement",
    through="if_statement else_clause elif_clause try_statement except_clause block",
)
_TABLE.add(
    "javascript javascriptreact typescript typescriptreact",
    functions="function_declaration generator_function_declaration method_definition "
    "function_signature method_signature abstract_method_signature",
    types="class_declaration abstract_class_declaration interface_declaration "
    "enum_declaration class",
    values="variable_declarator field_definition public_field_definition "
    "property_signature type_alias_declaration",
    wrappers="export_statement lexical_declaration variable_declaration "
    "ambient_declaration expression_statement",
    through="internal_module module statement_block if_statement",
    lambdas="arrow_function function_expression generator_function class",
    lambda_values="assignment_expression",
)
_TABLE.add(
    "java",
    functions="method_declaration constructor_declaration "
    "compact_constructor_declaration annotation_type_element_declaration",
    types="class_declaration interface_declaration enum_declaration "
    "record_declaration annotation_type_declaration",
    values="field_declaration constant_declaration enum_constant",
    through="enum_body_declarations",
)
_TABLE.add(
    "c cpp",
    functions="function_definition preproc_function_def",
    types="struct_specifier class_specifier union_specifier enum_specifier",
    values="declaration field_declaration preproc_def alias_declaration "
    "type_definition enumerator",
    wrappers="template_declaration",
    through="preproc_ifdef preproc_if preproc_else preproc_elif declaration_list "
    "linkage_specification namespace_definition",
)
_TABLE.add(
    "csharp",
    functions="method_declaration constructor_declaration delegate_declaration "
    "operator_declaration local_function_statement",
    types="class_declaration interface_declaration struct_declaration "
    "enum_declaration record_declaration",
    values="field_declaration property_declaration event_field_declaration "
    "enum_member_declaration",
    through="namespace_declaration file_scoped_namespace_declaration declaration_list "
    "global_statement",
)
_TABLE.add(
    "go",
    functions="function_declaration method_declaration method_elem",
    types="type_spec",
    values="const_spec var_spec type_alias field_declaration",
    wrappers="const_declaration var_declaration type_declaration",
    through="var_spec_list field_declaration_list",
    bodies="struct_type interface_type",
)
_TABLE.add(
    "rust",
    functions="function_item function_signature_item macro_definition",
    types="struct_item enum_item trait_item impl_item union_item",
    values="const_item static_item type_item field_declaration enum_variant",
    through="mod_item declaration_list foreign_mod_item",
    bodies="macro_rule",
)
_TABLE.add(
    "php",
    functions="function_definition method_declaration",
    types="class_declaration interface_declaration trait_declaration enum_declaration",
    values="const_declaration property_declaration enum_case",
    through="namespace_definition compound_statement if_statement",
)
_TABLE.add(
    "ruby",
    functions="method singleton_method",
    types="class",
    values="assignment call",
    through="module body_statement",
)
_TABLE.add(
    "kotlin",
    functions="function_declaration secondary_constructor",
    types="class_declaration object_declaration companion_object",
    values="property_declaration type_alias enum_entry",
    bodies="class_body enum_class_body function_body block",
)
_TABLE.add(
    "swift",
    functions="function_declaration init_declaration protocol_function_declaration",
    types="class_declaration protocol_declaration",
    values="property_declaration typealias_declaration enum_entry "
    "protocol_property_declaration",
    bodies="protocol_body computed_property",
)
_TABLE.add(
    "scala",
    functions="function_definition function_declaration",
    types="class_definition object_definition trait_definition enum_definition",
    values="val_definition val_declaration var_definition var_declaration "
    "type_definition enum_case_definitions given_definition",
    through="package_clause package_object template_body extension_definition",
)
_TABLE.add(
    "shellscript bash sh zsh",
    functions="function_definition",
    values="variable_assignment declaration_command",
    through="if_statement list",
)
_TABLE.add(
    "sql",
    functions="create_function create_procedure create_trigger",
    types="create_table create_view create_materialized_view create_type",
    values="column_definition",
    wrappers="statement",
    bodies="function_body column_definitions create_query",
)
_TABLE.add(
    "css",
    values="rule_set keyframes_statement",
    through="media_statement supports_statement block",
)
_TABLE.add(
    "html",
    values="start_tag self_closing_tag",
    through="element",
)
_TABLE.add(
    "lua",
    functions="function_declaration",
    values="variable_declaration assignment_statement",
    lambdas="function_definition",
    through="if_statement do_statement",
)

NODE_TYPES = _TABLE.by_language
"""LSP's language id to what defines something in its grammar."""
