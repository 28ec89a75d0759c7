// A map of the world in plain characters, with labels at places: made to be recognised, not to sail by.

export interface MapLabel {
  readonly latitude: number;
  readonly longitude: number;
  /** Plain characters; it stands beside the mark of its place. */
  readonly text: string;
}

export const MAP_COLUMNS_MIN = 60;
export const MAP_COLUMNS_MAX = 160;

/** Where land is: for each band of five degrees, by its middle, from which longitude to which. */
const LAND = `
72.5: -125 -78, -55 -24, 53 58, 80 150
67.5: -165 -66, -53 -30, 13 180
62.5: -165 -94, -78 -66, -50 -42, -23 -14, 6 180
57.5: -160 -155, -133 -92, -77 -61, -6 -2, 8 15, 22 140, 156 163
52.5: -130 -56, -10 -6, -5 1, 5 141, 156 159
47.5: -124 -60, -4 140, 142 144
42.5: -124 -70, -9 4, 9 15, 18 28, 41 49, 53 132, 140 145
37.5: -122 -76, -9 -1, 13 16, 22 49, 54 122, 126 129, 137 141
32.5: -117 -81, -8 12, 14 24, 32 120, 129 133
27.5: -114 -98, -82 -80, -13 34, 36 50, 54 121
22.5: -106 -98, -90 -87, -83 -77, -16 37, 40 59, 69 90, 92 115
17.5: -103 -88, -73 -68, -16 38, 43 55, 73 83, 95 108, 120 122
12.5: -88 -84, -75 -71, -17 43, 45 50, 75 80, 99 109, 121 125
7.5: -82 -59, -13 49, 80 82, 99 101, 116 118, 123 126
2.5: -79 -50, 10 46, 98 104, 109 118, 120 125
-2.5: -80 -40, 9 41, 101 106, 110 116, 119 123, 131 146
-7.5: -79 -35, 13 39, 105 115, 139 148
-12.5: -77 -38, 14 40, 49 51, 130 136, 141 144
-17.5: -71 -39, 12 38, 44 50, 122 141, 139 146
-22.5: -70 -42, 14 35, 43 48, 114 150
-27.5: -71 -49, 15 33, 114 153
-32.5: -72 -52, 18 30, 116 125, 133 152
-37.5: -73 -57, 140 150, 174 178
-42.5: -74 -64, 145 149, 170 174
-47.5: -75 -66
-52.5: -74 -68
`;
const BAND_DEGREES = 5;
const NORTH = 75;
const SOUTH = -55;
/** East of the tip of Siberia and west of Alaska there is only water. */
const WEST = -170;
/** A character is about twice as high as it is wide. */
const CHARACTER_RATIO = 2;

const SEA = " ";
const GROUND = ".";
const MARK = "o";

const BANDS = LAND.trim().split("\n").map(parseBand);

function parseBand(text: string): readonly (readonly [number, number])[] {
  const [, ranges = ""] = text.split(": ");
  return ranges.split(", ").map((range) => {
    const [from = 0, to = 0] = range.split(" ").map(Number);
    return [from, to];
  });
}

/**
 * The map in `columns` characters, 60 to 160, in lines without spaces at their ends. Each label has the mark `o` at its place and its text
 * beside that, or as near as no other label is in the way; where there is no room at all the mark stands alone.
 */
export function drawMap(labels: readonly MapLabel[], columns: number): readonly string[] {
  const width = Math.min(MAP_COLUMNS_MAX, Math.max(MAP_COLUMNS_MIN, Math.floor(columns)));
  const height = Math.round((width * (NORTH - SOUTH)) / 360 / CHARACTER_RATIO);
  const cells = Array.from({ length: height }, (_, row) => drawLand(row, height, width));
  const isTaken = cells.map((row) => row.map(() => false));
  const write = (row: number, column: number, text: string): void => {
    for (const [index, character] of text.split("").entries()) {
      const [line, taken] = [cells[row], isTaken[row]];
      if (line === undefined || taken === undefined) return;
      line[column + index] = character;
      taken[column + index] = true;
    }
  };
  const marks = labels.map((label) => ({ label, ...placeOf(label, height, width) }));
  for (const { row, column } of marks) write(row, column, MARK);
  for (const { label, row, column } of marks) {
    const isFree = (at: Spot): boolean => isRoom(isTaken[at.row], at.column, label.text.length);
    const spot = spotsAround(row, column, label.text.length).find(isFree);
    if (spot !== undefined) write(spot.row, spot.column, label.text);
  }
  return cells.map((row) => row.join("").trimEnd());
}

function drawLand(row: number, height: number, width: number): string[] {
  const latitude = NORTH - ((row + 0.5) * (NORTH - SOUTH)) / height;
  const ranges = BANDS[Math.floor((NORTH - latitude) / BAND_DEGREES)] ?? [];
  return Array.from({ length: width }, (_, column) => {
    const longitude = WEST + ((column + 0.5) * 360) / width;
    return ranges.some(([from, to]) => from <= longitude && longitude <= to) ? GROUND : SEA;
  });
}

interface Spot {
  readonly row: number;
  readonly column: number;
}

function placeOf({ latitude, longitude }: MapLabel, height: number, width: number): Spot {
  const row = Math.floor(((NORTH - latitude) * height) / (NORTH - SOUTH));
  const column = Math.floor(((longitude - WEST + 360) % 360) * (width / 360));
  return { row: Math.min(height - 1, Math.max(0, row)), column: Math.min(width - 1, column) };
}

/** Where the text of a mark may stand: right of it, left of it, above and below, then a line farther. */
function spotsAround(row: number, column: number, length: number): readonly Spot[] {
  const columns = [column + 2, column - length - 1, column - Math.floor(length / 2)];
  const beside = columns.slice(0, 2).map((one) => ({ row, column: one }));
  const others = [-1, 1, -2, 2].flatMap((step) => columns.map((one) => ({ row: row + step, column: one })));
  return [...beside, ...others];
}

/** Whether a text fits in with a space on both sides. */
function isRoom(taken: readonly boolean[] | undefined, column: number, length: number): boolean {
  if (taken === undefined || column < 0 || column + length > taken.length) return false;
  return !taken.slice(Math.max(0, column - 1), column + length + 1).includes(true);
}
