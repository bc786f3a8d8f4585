--- Why nothing is suggested here: every reason has a name, which checkhealth shows.

local options = require('lsp-stablecode.options')
local switch = require('lsp-stablecode.switch')

local M = {}

--- Each name and what it means to the user.
M.reasons = {
  mode = 'not in Insert mode',
  special = 'the buffer is not a file',
  fixed = 'the buffer cannot be changed, or is read-only',
  macro = 'a macro is recorded or runs, whose keys must mean the same every time',
  global = 'switched off; :LspStablecode toggle',
  buffer = 'switched off in this buffer; :LspStablecode toggle buffer',
  language = 'switched off for this file type; :LspStablecode toggle language',
  snippet = 'a snippet is being filled in; ask by hand',
  menu = 'a completion menu is open and the option `with_menu` is false',
  selected = 'an item of the completion menu was selected',
}

--- Return why nothing can be shown here, whoever asks.
---@param bufnr integer
---@return string?
function M.always(bufnr)
  local mode = vim.api.nvim_get_mode().mode
  local kind = vim.bo[bufnr].buftype
  -- Insert mode and its completion; not |Insert-normal|, not Replace.
  if mode ~= 'i' and mode ~= 'ic' and mode ~= 'ix' then
    return 'mode'
  elseif kind ~= '' and kind ~= 'acwrite' then
    return 'special'
  elseif not vim.bo[bufnr].modifiable or vim.bo[bufnr].readonly then
    return 'fixed'
  elseif vim.fn.reg_recording() ~= '' or vim.fn.reg_executing() ~= '' then
    return 'macro'
  end
end

---@return boolean
local function is_in_snippet()
  if vim.snippet.active() then
    return true
  end
  local luasnip = package.loaded['luasnip']
  local is_answered, answer = pcall(function()
    return luasnip and luasnip.locally_jumpable(1)
  end)
  return is_answered and answer == true
end

--- Return why nothing is shown here unasked.
---@param bufnr integer
---@param beside? lsp-stablecode.Menu
---@return string?
function M.unasked(bufnr, beside)
  local reason = M.always(bufnr) or switch.which_is_off(bufnr)
  if reason then
    return reason
  elseif is_in_snippet() then
    return 'snippet'
  elseif beside and not options.get().with_menu then
    return 'menu'
  elseif beside and beside.is_explicit then
    return 'selected'
  end
end

--- The same for a buffer in general, for people: what holds in any mode.
---@param bufnr integer
---@return string?
function M.in_general(bufnr)
  local reason = switch.which_is_off(bufnr)
  return reason and M.reasons[reason]
end

return M
