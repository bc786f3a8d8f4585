--- What the user chose: `vim.g.lsp_stablecode`, and over it `setup()`.

local M = {}

---@class lsp-stablecode.Keys
---Keys in Insert mode, or false for none. All but `trigger` do what they did before
---where there is no ghost text.
---@field accept? string|false
---@field accept_word? string|false
---@field accept_line? string|false
---@field next? string|false
---@field previous? string|false
---@field dismiss? string|false
---@field trigger? string|false

---@class lsp-stablecode.Options
---@field cmd? string[] What starts the server; by default it is looked for
---@field shared_engine? boolean Whether all editors share one model, unless `cmd` is given
---@field settings? table<string, any> The server's settings, such as `maxNewTokens`
---@field autostart? boolean Whether files start the server by themselves
---@field ghost_text? 'auto'|'own'|'builtin' Who draws; `builtin` is Neovim 0.12's
---@field with_menu? boolean Whether ghost text shows beside a completion menu
---@field filetypes? table<string, boolean> Where it shows; `['*']` is all the others
---@field keys? lsp-stablecode.Keys|false

---@class lsp-stablecode.FullOptions: lsp-stablecode.Options
---@field shared_engine boolean
---@field settings table<string, any>
---@field autostart boolean
---@field ghost_text 'auto'|'own'|'builtin'
---@field with_menu boolean
---@field filetypes table<string, boolean>
---@field keys table<lsp-stablecode.Action, string|false>

---@alias lsp-stablecode.Action
---| 'accept'
---| 'accept_word'
---| 'accept_line'
---| 'next'
---| 'previous'
---| 'dismiss'
---| 'trigger'

---@type lsp-stablecode.FullOptions
M.defaults = {
  shared_engine = true,
  settings = {},
  autostart = true,
  ghost_text = 'auto',
  with_menu = true,
  filetypes = {},
  keys = {
    accept = '<Tab>',
    accept_word = '<M-Right>',
    accept_line = '<M-C-Right>',
    next = '<M-]>',
    previous = '<M-[>',
    dismiss = '<C-]>',
    trigger = '<M-Bslash>',
  },
}

---@type lsp-stablecode.Options?
local from_setup

---@type lsp-stablecode.FullOptions?
local current

---@param value any
---@return boolean
local function is_command(value)
  return vim.islist(value) and #value > 0 and type(value[1]) == 'string'
end

---@param value any
---@return boolean
local function is_drawer(value)
  return value == 'auto' or value == 'own' or value == 'builtin'
end

--- Raise an error that names the option, for a wrong type or a name that is none.
---@param options lsp-stablecode.Options
local function check(options)
  local known = vim.tbl_extend('keep', { cmd = true }, M.defaults)
  for name in pairs(options) do
    if known[name] == nil then
      error(
        ("lsp-stablecode: there is no option '%s'; see :help lsp-stablecode-options"):format(name)
      )
    end
  end
  vim.validate('cmd', options.cmd, is_command, true, 'a list of texts')
  vim.validate('shared_engine', options.shared_engine, 'boolean', true)
  vim.validate('settings', options.settings, 'table', true)
  vim.validate('autostart', options.autostart, 'boolean', true)
  vim.validate('ghost_text', options.ghost_text, is_drawer, true, "'auto', 'own' or 'builtin'")
  vim.validate('with_menu', options.with_menu, 'boolean', true)
  vim.validate('filetypes', options.filetypes, 'table', true)
  vim.validate('keys', options.keys, function(keys)
    return keys == false or type(keys) == 'table'
  end, true, 'a table or false')
  for action, lhs in pairs(options.keys or {}) do
    if M.defaults.keys[action] == nil then
      error(("lsp-stablecode: there is no key '%s'; see :help lsp-stablecode-keys"):format(action))
    end
    vim.validate('keys.' .. action, lhs, function(value)
      return value == false or type(value) == 'string'
    end, 'a key or false')
  end
end

---@return lsp-stablecode.FullOptions
function M.get()
  if not current then
    local global = type(vim.g.lsp_stablecode) == 'table' and vim.g.lsp_stablecode or {}
    ---@cast global lsp-stablecode.Options
    check(global)
    local options = vim.tbl_deep_extend('force', M.defaults, global, from_setup or {})
    -- A list is not merged with another one, and `false` stands for no keys at all.
    options.cmd = from_setup and from_setup.cmd or global.cmd
    options.keys = options.keys or {}
    current = options
  end
  return current
end

---@param options lsp-stablecode.Options
function M.set(options)
  check(options)
  from_setup = options
  current = nil
end

return M
