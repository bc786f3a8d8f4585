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

--- What was toggled for file types, where the options say otherwise.
---@type table<string, boolean>
local by_filetype = {}

---@param filetype string
---@return boolean
local function is_chosen(filetype)
  local filetypes = options.get().filetypes
  local chosen = filetypes[filetype]
  if chosen == nil then
    chosen = filetypes['*']
  end
  return chosen ~= false
end

---@param filetype string
---@return boolean
local function is_filetype_on(filetype)
  local is_on = by_filetype[filetype]
  if is_on == nil then
    is_on = is_chosen(filetype)
  end
  return is_on
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
    local is_on = not is_filetype_on(filetype)
    by_filetype[filetype] = nil
    if is_on ~= is_chosen(filetype) then
      by_filetype[filetype] = is_on
    end
    return is_on
  end
  is_on_globally = not is_on_globally
  return is_on_globally
end

return M
