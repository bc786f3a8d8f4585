--- Ghost text switched off and on: everywhere, for one file type, in one buffer.
---
--- The buffer's switch is the variable `vim.b.lsp_stablecode`, so that autocommands
--- and modelines of plugins can set it.

local options = require('lsp-stablecode.options')

local M = {}

---@alias lsp-stablecode.Scope 'global'|'language'|'buffer'

---@type lsp-stablecode.Scope[]
M.scopes = { 'global', 'buffer', 'language' }

local is_on_globally = true

--- What was toggled for file types since the start; the options hold what was before.
---@type table<string, boolean>
local by_filetype = {}

---@param filetype string
---@return boolean
local function is_filetype_on(filetype)
  local chosen = by_filetype[filetype]
  if chosen == nil then
    chosen = options.get().filetypes[filetype]
  end
  if chosen == nil then
    chosen = options.get().filetypes['*']
  end
  return chosen ~= false
end

--- Return which switch is off for a buffer, or nil where all are on.
---@param bufnr integer
---@return lsp-stablecode.Scope?
function M.which_is_off(bufnr)
  if not is_on_globally then
    return 'global'
  elseif vim.b[bufnr].lsp_stablecode == false then
    return 'buffer'
  elseif not is_filetype_on(vim.bo[bufnr].filetype) then
    return 'language'
  end
end

--- Turn one switch over; return whether it is on now.
---@param scope lsp-stablecode.Scope
---@param bufnr integer
---@return boolean
function M.toggle(scope, bufnr)
  if scope == 'buffer' then
    local is_on = vim.b[bufnr].lsp_stablecode == false
    vim.b[bufnr].lsp_stablecode = is_on
    return is_on
  elseif scope == 'language' then
    local filetype = vim.bo[bufnr].filetype
    by_filetype[filetype] = not is_filetype_on(filetype)
    return by_filetype[filetype]
  end
  is_on_globally = not is_on_globally
  return is_on_globally
end

return M
