--- Ghost text drawn with extmarks: on Neovim 0.11, and on 0.12 unless told otherwise.

local api = vim.api

local M = {}

local namespace = api.nvim_create_namespace('lsp-stablecode.ghost')

local GHOST = 'LspStablecodeGhost'
local MORE = 'LspStablecodeMore'

--- Define the highlights, unless the user or a colour scheme has.
function M.highlight()
  local has_its_own = vim.fn.hlexists('ComplHint') == 1
  api.nvim_set_hl(0, GHOST, { link = has_its_own and 'ComplHint' or 'NonText', default = true })
  api.nvim_set_hl(0, MORE, { link = has_its_own and 'ComplHintMore' or 'MoreMsg', default = true })
end

--- Return a line as it looks in the buffer: virtual text knows no tab stops.
---@param text string
---@param column integer The display column it begins at, from 0
---@return string
local function expand(text, column)
  local shown = ''
  for blanks, rest in text:gmatch('(\t*)([^\t]*)') do
    for _ = 1, #blanks do
      local width = vim.fn.strdisplaywidth('\t', column + vim.fn.strdisplaywidth(shown))
      shown = shown .. (' '):rep(width)
    end
    shown = shown .. vim.fn.strtrans(rest)
  end
  return shown
end

--- Draw one line, woven into the closing brackets that stand there already.
---@param bufnr integer
---@param row integer
---@param column integer
---@param pieces lsp-stablecode.Piece[]
---@param line string
---@param more? [string, string]
local function draw_pieces(bufnr, row, column, pieces, line, more)
  for number, piece in ipairs(pieces) do
    local at = column + piece.offset
    local chunks = {} ---@type [string, string][]
    if piece.text ~= '' then
      chunks[1] = { expand(piece.text, vim.fn.strdisplaywidth(line:sub(1, at))), GHOST }
    end
    if number == #pieces then
      chunks[#chunks + 1] = more
    end
    if #chunks > 0 then
      api.nvim_buf_set_extmark(bufnr, namespace, row, at, {
        virt_text = chunks,
        virt_text_pos = 'inline',
      })
    end
  end
end

--- Draw several lines, or one that replaces other text. What stays of the cursor's
--- line will stand behind the last of them, so it is shown there and hidden here.
---@param bufnr integer
---@param row integer
---@param column integer
---@param rest lsp-stablecode.Rest
---@param line string
---@param more? [string, string]
local function draw_lines(bufnr, row, column, rest, line, more)
  local start = vim.fn.strdisplaywidth(line:sub(1, column))
  local rows = {} ---@type [string, string?][][]
  for text in vim.gsplit(rest.text, '\n', { plain = true }) do
    rows[#rows + 1] = { { expand(text, #rows == 0 and start or 0), GHOST } }
  end
  local first, last = rows[1], rows[#rows]
  local behind = vim.fn.strdisplaywidth(last[1][1], #rows == 1 and start or 0)
  last[2] = { expand(rest.kept, behind) }
  last[3] = more
  local is_covering = #rest.covered + #rest.kept > 0
  if is_covering then
    local hidden = vim.fn.strdisplaywidth(line:sub(column + 1), start)
    local shown = 0
    for _, chunk in ipairs(first) do
      shown = shown + vim.fn.strdisplaywidth(chunk[1], start + shown)
    end
    first[#first + 1] = { (' '):rep(hidden - shown) }
  end
  table.remove(rows, 1)
  api.nvim_buf_set_extmark(bufnr, namespace, row, column, {
    virt_text = first,
    virt_text_pos = is_covering and 'overlay' or 'inline',
    virt_lines = rows,
    virt_lines_overflow = 'scroll',
    -- Over other text it takes the cursor line's background, which inline text has
    -- anyway; inline, it would also take the next character's colour.
    hl_mode = is_covering and 'combine' or 'replace',
  })
end

--- Show what is left of a candidate. Nothing is flushed to the screen in between.
---@param bufnr integer
---@param row integer The cursor's, from 0
---@param column integer The cursor's, in bytes from 0
---@param rest lsp-stablecode.Rest
---@param hint? string Such as `(2/3)`
function M.show(bufnr, row, column, rest, hint)
  M.hide(bufnr)
  local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1]
  local more = hint and { ' ' .. hint, MORE } or nil
  if rest.pieces then
    draw_pieces(bufnr, row, column, rest.pieces, line, more)
  else
    draw_lines(bufnr, row, column, rest, line, more)
  end
end

---@param bufnr integer
function M.hide(bufnr)
  if api.nvim_buf_is_valid(bufnr) then
    api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

return M
