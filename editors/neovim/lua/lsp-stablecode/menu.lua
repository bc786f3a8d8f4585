--- The completion menu beside the ghost text: Neovim's own, nvim-cmp's, blink.cmp's.
---
--- The plugins are asked only if they are loaded, and what they answer is not relied
--- upon: their state is theirs to change.

local M = {}

---@class lsp-stablecode.Menu
---@field is_explicit boolean Whether the user has moved to an item
---@field selected? lsp-stablecode.Selected

---@class lsp-stablecode.Selected
---An item that is selected by default and not inserted.
---@field text string
---@field column integer Where it would begin on the cursor's line, in bytes from 0

--- What was selected when the text was last changed.
---@type { tick: integer, selected: integer }?
local before

---@return string
local function before_cursor()
  return vim.api.nvim_get_current_line():sub(1, vim.api.nvim_win_get_cursor(0)[2])
end

--- Return a selected word if it goes on from what is typed. One that is typed already,
--- or that the menu found by other letters, is no beginning of a suggestion.
---@param word string
---@param column integer Where the menu would put it
---@return lsp-stablecode.Selected?
local function selected_word(word, column)
  local typed = before_cursor():sub(column + 1)
  if #word > #typed and vim.startswith(word, typed) then
    return { text = word, column = column }
  end
end

--- Find where Neovim's own menu, which does not tell, would put a word: over as much of
--- it as stands before the cursor, and over all keyword characters there.
---@param word string
---@return integer?
local function column_of(word)
  local line = before_cursor()
  local num_least = math.max(1, #vim.fn.matchstr(line, [[\k*$]]))
  for length = math.min(#word, #line), num_least, -1 do
    if vim.endswith(line, word:sub(1, length)) then
      return #line - length
    end
  end
end

---@return lsp-stablecode.Menu?
local function builtin_menu()
  if vim.fn.pumvisible() == 0 then
    before = nil
    return nil
  end
  local info = vim.fn.complete_info({ 'selected', 'completed' })
  local local_options = vim.bo.completeopt
  local flags = local_options ~= '' and local_options or vim.o.completeopt
  if not vim.list_contains(vim.split(flags, ','), 'noinsert') then
    return { is_explicit = info.selected >= 0 }
  end
  local tick = vim.api.nvim_buf_get_changedtick(0)
  if not before or before.tick ~= tick then
    before = { tick = tick, selected = info.selected }
  end
  local word = vim.tbl_get(info, 'completed', 'word')
  local column = word and column_of(word)
  return {
    is_explicit = info.selected ~= before.selected,
    selected = column and selected_word(word, column),
  }
end

--- nvim-cmp says that its menu is closed some keys before its window is.
local is_cmp_closed = false

---@return lsp-stablecode.Menu?
local function cmp_menu()
  local cmp = package.loaded['cmp']
  -- `cmp.visible()` would wait for its filter, up to a second.
  local view = cmp and cmp.core and cmp.core.view
  if not view or is_cmp_closed or not view:visible() then
    return nil
  end
  local entry = view:get_selected_entry()
  return {
    is_explicit = view:get_active_entry() ~= nil,
    selected = entry and selected_word(entry:get_word(), entry:get_offset() - 1),
  }
end

---@param item table Of blink.cmp's list
---@return lsp-stablecode.Selected?
local function blink_selected(item)
  if item.insertTextFormat == vim.lsp.protocol.InsertTextFormat.Snippet then
    return nil
  end
  local edit = require('blink.cmp.lib.text_edits').get_from_item(item)
  return selected_word(edit.newText, edit.range.start.character)
end

---@return lsp-stablecode.Menu?
local function blink_menu()
  local blink = package.loaded['blink.cmp']
  if not blink or not blink.is_menu_visible() then
    return nil
  end
  local item = blink.get_selected_item()
  local is_answered, selected = pcall(blink_selected, item)
  return {
    is_explicit = require('blink.cmp.completion.list').is_explicitly_selected == true,
    selected = is_answered and selected or nil,
  }
end

--- Return what the menu of the current window shows, or nil where none is open.
---@return lsp-stablecode.Menu?
function M.state()
  local menu = builtin_menu()
  for _, ask in ipairs({ cmp_menu, blink_menu }) do
    local is_answered, answer = pcall(ask)
    menu = menu or (is_answered and answer or nil)
  end
  return menu
end

--- Close the menu: its items are no longer about the text. Neovim's own is closed by
--- the keys that accept, and nvim-cmp's by the change.
function M.close()
  local blink = package.loaded['blink.cmp']
  if blink then
    pcall(blink.hide)
  end
end

local is_watching_cmp = false

--- Call back whenever a plugin's menu opens or closes; Neovim's own has autocommands.
---@param group integer
---@param callback fun()
function M.watch(group, callback)
  vim.api.nvim_create_autocmd('User', {
    group = group,
    pattern = { 'BlinkCmpMenuOpen', 'BlinkCmpMenuClose', 'BlinkCmpListSelect' },
    callback = callback,
  })
  vim.api.nvim_create_autocmd('InsertEnter', {
    group = group,
    callback = function()
      local cmp = not is_watching_cmp and package.loaded['cmp'] or nil
      if cmp then
        is_watching_cmp = true
        pcall(function()
          for event, is_closed in pairs({ menu_opened = false, menu_closed = true }) do
            cmp.event:on(event, function()
              is_cmp_closed = is_closed
              callback()
            end)
          end
        end)
      end
    end,
  })
end

return M
