// Cloudflare's colos: where they are, and the area of location hints that each is in.

/** An area that a location hint names. */
export const REGIONS = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"] as const;
type Region = (typeof REGIONS)[number];

/** A continent as `request.cf.continent` names it. */
export const CONTINENTS = ["AF", "AN", "AS", "EU", "NA", "OC", "SA"] as const;
type Continent = (typeof CONTINENTS)[number];

export interface Colo {
  /** Three letters: the IATA code of an airport nearby. */
  readonly code: string;
  readonly city: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly continent: Continent;
  readonly region: Region;
  /** Degrees, north and east positive, to about a kilometre: of the airport. */
  readonly latitude: number;
  readonly longitude: number;
}

/**
 * What Cloudflare published in August 2026, by country, continent and region; coordinates that it left out, or had wrong (SSA), are those of
 * the airports. It does not publish the borders of the areas: here North America is divided at 100 degrees west, what lies between it and
 * South America counts to the east, and Europe's countries are one side or the other as a whole.
 */
const TABLE = `
AE AS me: DXB Dubai 25.25 55.36
AL EU eeur: TIA Tirana 41.41 19.72
AM AS me: EVN Yerevan 40.15 44.4
AO AF afr: LAD Luanda -8.86 13.23
AR SA sam: COR Córdoba -31.32 -64.21; EZE Buenos Aires -34.82 -58.54; NQN Neuquén -38.95 -68.16
AT EU weur: VIE Vienna 48.11 16.57
AU OC oc: ADL Adelaide -34.95 138.53; BNE Brisbane -27.38 153.12; CBR Canberra -35.31 149.2; HBA Hobart -42.84 147.51;
  MEL Melbourne -37.67 144.84; PER Perth -31.94 115.97; SYD Sydney -33.95 151.18
AZ AS me: GYD Baku 40.47 50.05; LLK Astara 38.75 48.82
BB NA enam: BGI Bridgetown 13.07 -59.49
BD AS apac: CGP Chittagong 22.25 91.81; DAC Dhaka 23.84 90.4
BE EU weur: BRU Brussels 50.9 4.48
BF AF afr: OUA Ouagadougou 12.35 -1.51
BG EU eeur: SOF Sofia 42.7 23.41
BH AS me: BAH Manama 26.27 50.63
BN AS apac: BWN Bandar Seri Begawan 4.94 114.93
BO SA sam: LPB La Paz -16.51 -68.19
BR SA sam: ARU Aracatuba -21.14 -50.42; BEL Belém -1.38 -48.48; BSB Brasilia -15.87 -47.92;
  CAW Campos dos Goytacazes -21.7 -41.3; CFC Caçador -26.78 -51.01; CGB Cuiaba -15.65 -56.12;
  CNF Belo Horizonte -19.62 -43.97; CWB Curitiba -25.53 -49.18; FLN Florianopolis -27.67 -48.55; FOR Fortaleza -3.78 -38.53;
  GIG Rio de Janeiro -22.81 -43.25; GRU São Paulo -23.44 -46.47; GYN Goiânia -16.63 -49.22;
  JDO Juazeiro do Norte -7.22 -39.27; JOI Joinville -26.22 -48.8; MAO Manaus -3.04 -60.05; NVT Timbó -26.88 -48.65;
  PMW Palmas -10.29 -48.36; POA Porto Alegre -29.99 -51.17; QWJ Americana -22.74 -47.33; RAO Ribeirao Preto -21.14 -47.78;
  REC Recife -8.13 -34.92; SJK São José dos Campos -23.23 -45.86; SJP São José do Rio Preto -20.82 -49.41;
  SOD Sorocaba -23.48 -47.49; SSA Salvador -12.91 -38.32; UDI Uberlândia -18.88 -48.23; VCP Campinas -23.01 -47.13;
  VIX Vitoria -20.26 -40.29; XAP Chapeco -27.13 -52.66
BT AS apac: PBH Thimphu 27.4 89.42
BW AF afr: GBE Gaborone -24.56 25.92
BY EU eeur: MSQ Minsk 53.88 28.03
CA NA enam: YHZ Halifax 44.88 -63.51; YUL Montréal 45.47 -73.74; YWG Winnipeg 49.91 -97.24; YYZ Toronto 43.68 -79.63
CA NA wnam: YVR Vancouver 49.19 -123.18; YXE Saskatoon 52.17 -106.7; YYC Calgary 51.11 -114.02
CD AF afr: FIH Kinshasa -4.39 15.44
CH EU weur: GVA Geneva 46.24 6.11; ZRH Zurich 47.46 8.55
CI AF afr: ABJ Abidjan 5.26 -3.93; ASK Yamoussoukro 6.9 -5.37
CL SA sam: ARI Arica -18.35 -70.34; SCL Santiago -33.39 -70.79
CM AF afr: DLA Douala 4.01 9.72
CN AS apac: ACX Xingyi 25.09 104.96; AVA Anshun 26.26 105.87; CAN Guangzhou 23.39 113.3; CGD Changde 28.92 111.64;
  CGO Zhengzhou 34.52 113.84; CKG Chongqing 29.72 106.64; CSX Changsha 28.19 113.22; CTU Chengdu 30.58 103.95;
  CZX Changzhou 31.92 119.78; DLC Dalian 38.97 121.54; FOC Fuzhou 25.94 119.66; FUO Foshan 23.08 113.07;
  HAK Haikou 19.93 110.46; HGH Shaoxing 30.23 120.43; HYN Taizhou 28.56 121.43; JXG Jiaxing 30.71 120.68;
  KHN Xinyu 28.86 115.9; KMG Kunming 25.1 102.93; KWE Guiyang 26.54 106.8; LYA Luoyang 34.74 112.39;
  PKX Langfang 39.51 116.41; SHA Shanghai 31.2 121.34; SJW Hengshui 38.28 114.7; SZX Shenzhen 22.64 113.81;
  TAO Qingdao 36.27 120.37; TEN Tongren 27.88 109.31; TNA Jinan 36.86 117.22; TYN Yangquan 37.75 112.63;
  XFN Xiangyang 32.15 112.29; XIY Baoji 34.45 108.75
CO SA sam: BAQ Barranquilla 10.89 -74.78; BOG Bogotá 4.7 -74.15; CLO Cali 3.54 -76.38; MDE Medellín 6.16 -75.42
CR NA enam: SJO San José 9.99 -84.21
CY EU eeur: LCA Nicosia 34.88 33.62
CZ EU eeur: PRG Prague 50.1 14.26
DE EU weur: DUS Düsseldorf 51.29 6.77; FRA Frankfurt 50.03 8.54; HAM Hamburg 53.63 9.99; MUC Munich 48.35 11.79;
  STR Stuttgart 48.69 9.22; TXL Berlin 52.56 13.29
DJ AF afr: JIB Djibouti City 11.55 43.16
DK EU weur: CPH Copenhagen 55.62 12.66
DO NA enam: SDQ Santo Domingo 18.43 -69.67; STI Santiago de los Caballeros 19.41 -70.6
DZ AF afr: AAE Annaba 36.82 7.81; ALG Algiers 36.69 3.22; CZL Constantine 36.28 6.62; ORN Oran 35.62 -0.62
EC SA sam: GYE Guayaquil -2.16 -79.88; UIO Quito -0.13 -78.36
EE EU eeur: TLL Tallinn 59.41 24.83
EG AF afr: CAI Cairo 30.12 31.41
ES EU weur: BCN Barcelona 41.3 2.08; MAD Madrid 40.49 -3.57
ET AF afr: ADD Addis Ababa 8.98 38.8
FI EU eeur: HEL Helsinki 60.32 24.96
FJ OC oc: SUV Suva -18.04 178.56
FR EU weur: BOD Bordeaux 44.83 -0.72; CDG Paris 49.01 2.55; LYS Lyon 45.73 5.09; MRS Marseille 43.44 5.22
GB EU weur: LHR London 51.47 -0.46; MAN Manchester 53.35 -2.27
GD NA enam: GND St. George's 12 -61.79
GE AS eeur: TBS Tbilisi 41.67 44.95
GH AF afr: ACC Accra 5.61 -0.17
GR EU eeur: ATH Athens 37.94 23.94; SKG Thessaloniki 40.52 22.97
GT NA enam: GUA Guatemala City 14.58 -90.53
GU OC oc: GUM Hagatna 13.48 144.8
GY SA sam: GEO Georgetown 6.5 -58.25
HK AS apac: HKG Hong Kong 22.31 113.92
HN NA enam: SAP San Pedro Sula 15.45 -87.92; TGU Tegucigalpa 14.06 -87.22
HR EU eeur: ZAG Zagreb 45.74 16.07
HU EU eeur: BUD Budapest 47.44 19.26
ID AS apac: CGK Jakarta -6.13 106.66; DPS Denpasar -8.75 115.17; JOG Yogyakarta -7.79 110.43; MLG Malang -7.93 112.71
IE EU weur: DUB Dublin 53.42 -6.27
IL AS me: HFA Haifa 32.81 35.04; TLV Tel Aviv 32.01 34.89
IN AS apac: AGR Agra 27.16 77.96; AMD Ahmedabad 23.08 72.63; BBI Bhubaneswar 20.24 85.82; BDQ Jamnagar 22.34 73.23;
  BLR Bangalore 13.2 77.71; BOM Mumbai 19.09 72.87; CCU Kolkata 22.65 88.45; CJB Coimbatore 11.03 77.04;
  CNN Kannur 11.92 75.55; COK Kochi 10.15 76.4; DEL New Delhi 28.57 77.1; HYD Hyderabad 17.23 78.43;
  IXC Chandigarh 30.67 76.79; JRG Sambalpur 21.91 84.05; KNU Kanpur 26.4 80.43; MAA Chennai 12.99 80.17;
  NAG Nagpur 21.09 79.05; PAT Patna 25.59 85.09; PNQ Pune 18.58 73.92; UDR Udaipur 24.62 73.9
IQ AS me: BGW Baghdad 33.26 44.23; BSR Basra 30.55 47.66; EBL Erbil 36.24 43.96; ISU Sulaymaniyah 35.56 45.32;
  NJF Najaf 31.99 44.4; XNH Nasiriyah 30.94 46.09
IS EU weur: KEF Reykjavík 63.99 -22.61
IT EU weur: FCO Rome 41.8 12.25; MXP Milan 45.63 8.73; PMO Palermo 38.18 13.09
JM NA enam: KIN Kingston 17.94 -76.79
JO AS me: AMM Amman 31.72 35.99
JP AS apac: FUK Fukuoka 33.59 130.45; KIX Osaka 34.43 135.24; NRT Tokyo 35.76 140.39; OKA Naha 26.2 127.65
KE AF afr: MBA Mombasa -4.03 39.59; NBO Nairobi -1.32 36.93
KG AS apac: FRU Bishkek 43.06 74.48
KH AS apac: PNH Phnom Penh 11.55 104.84
KR AS apac: ICN Seoul 37.47 126.45
KW AS me: KWI Kuwait City 29.23 47.97
KZ AS apac: AKX Aktobe 50.25 57.21; ALA Almaty 43.35 77.04; NQZ Astana 51.02 71.47
LA AS apac: VTE Vientiane 17.99 102.56
LB AS me: BEY Beirut 33.82 35.49
LK AS apac: CMB Colombo 7.18 79.88
LT EU eeur: VNO Vilnius 54.63 25.29
LU EU weur: LUX Luxembourg City 49.63 6.21
LV EU eeur: RIX Riga 56.92 23.97
MD EU eeur: KIV Chișinău 46.93 28.93
MG AF afr: TNR Antananarivo -18.8 47.48
MK EU eeur: SKP Skopje 41.96 21.62
MN AS apac: ULN Ulaanbaatar 47.84 106.77
MO AS apac: MFM Macau 22.15 113.59
MT EU weur: MLA Santa Venera 35.86 14.48
MU AF afr: MRU Port Louis -20.43 57.68
MV AS apac: MLE Malé 4.19 73.53
MW AF afr: LLW Lilongwe -13.79 33.78
MX NA enam: MEX Mexico City 19.44 -99.07
MX NA wnam: GDL Guadalajara 20.52 -103.31; QRO Queretaro 20.62 -100.19
MY AS apac: JHB Johor Bahru 1.64 103.67; KCH Kuching 1.48 110.35; KUL Kuala Lumpur 2.75 101.71
MZ AF afr: MPM Maputo -25.92 32.57
NA AF afr: WDH Windhoek -22.48 17.47
NC OC oc: NOU Noumea -22.01 166.21
NG AF afr: LOS Lagos 6.58 3.32
NL EU weur: AMS Amsterdam 52.31 4.76
NO EU weur: OSL Oslo 60.19 11.1
NP AS apac: KTM Kathmandu 27.7 85.36
NZ OC oc: AKL Auckland -37.01 174.79; CHC Christchurch -43.49 172.53; WLG Wellington -41.33 174.8
OM AS me: MCT Muscat 23.59 58.28
PA NA enam: PTY Panama City 9.07 -79.38
PE SA sam: LIM Lima -12.02 -77.11
PF OC oc: PPT Tahiti -17.55 -149.61
PH AS apac: CEB Cebu 10.31 123.98; CGY Cagayan de Oro 8.42 124.61; CRK Tarlac City 15.19 120.56; MNL Manila 14.51 121.02
PK AS apac: ISB Islamabad 33.62 73.1; KHI Karachi 24.91 67.16; LHE Lahore 31.52 74.4
PL EU eeur: WAW Warsaw 52.17 20.97; WRO Wroclaw 51.1 16.89
PR NA enam: SJU San Juan 18.44 -66
PS AS me: ZDM Ramallah 32.27 35.02
PT EU weur: LIS Lisbon 38.78 -9.14
PY SA sam: ASU Asunción -25.24 -57.52
QA AS me: DOH Doha 25.26 51.61
RE AF afr: RUN Saint-Denis -20.89 55.51
RO EU eeur: OTP Bucharest 44.57 26.1
RS EU eeur: BEG Belgrade 44.82 20.31
RU EU eeur: DME Moscow 55.41 37.91; KJA Krasnoyarsk 56.17 92.49; LED Saint Petersburg 59.8 30.26
RW AF afr: KGL Kigali -1.97 30.14
SA AS me: DMM Dammam 26.47 49.8; JED Jeddah 21.68 39.16; RUH Riyadh 24.96 46.7
SE EU weur: ARN Stockholm 59.65 17.92; GOT Gothenburg 57.66 12.28
SG AS apac: SIN Singapore 1.35 103.99
SI EU eeur: LJU Ljubljana 46.22 14.46
SK EU eeur: BTS Bratislava 48.17 17.21
SN AF afr: DKR Dakar 14.74 -17.49
SR SA sam: PBM Paramaribo 5.45 -55.19
TH AS apac: BKK Bangkok 13.68 100.75; CNX Chiang Mai 18.77 98.96; URT Surat Thani 9.13 99.14
TN AF afr: TUN Tunis 36.85 10.23
TR AS eeur: ADB Izmir 38.29 27.16; IST Istanbul 41.26 28.73
TT NA enam: POS Port of Spain 10.6 -61.34
TW AS apac: KHH Kaohsiung City 22.58 120.35; TPE Taipei 25.08 121.23
TZ AF afr: DAR Dar Es Salaam -6.88 39.2
UA EU eeur: KBP Kyiv 50.35 30.89
UG AF afr: EBB Kampala 0.04 32.44
US NA enam: ATL Atlanta 33.64 -84.43; AUS Austin 30.19 -97.67; BGR Bangor 44.81 -68.83; BNA Nashville 36.12 -86.68;
  BOS Boston 42.36 -71.01; BUF Buffalo 42.94 -78.73; CLE Cleveland 41.41 -81.85; CLT Charlotte 35.21 -80.94;
  CMH Columbus 40 -82.89; CVG Cincinnati 39.05 -84.67; DFW Dallas 32.9 -97.04; DTW Detroit 42.21 -83.35;
  EWR Newark 40.69 -74.17; FSD Sioux Falls 43.58 -96.74; IAD Ashburn 38.94 -77.46; IAH Houston 29.98 -95.34;
  IND Indianapolis 39.72 -86.29; JAX Jacksonville 30.49 -81.69; MCI Kansas City 39.3 -94.71; MEM Memphis 35.04 -89.98;
  MIA Miami 25.79 -80.29; MSP Minneapolis 44.88 -93.22; OKC Oklahoma City 35.39 -97.6; OMA Omaha 41.3 -95.89;
  ORD Chicago 41.98 -87.9; ORF Norfolk 36.89 -76.2; PHL Philadelphia 39.87 -75.24; PIT Pittsburgh 40.49 -80.23;
  RDU Durham 35.88 -78.79; RIC Richmond 37.51 -77.32; SAT San Antonio 29.53 -98.47; STL St. Louis 38.75 -90.37;
  TLH Tallahassee 30.4 -84.35; TPA Tampa 27.98 -82.53
US NA wnam: ABQ Albuquerque 35.04 -106.61; ANC Anchorage 61.17 -150; DEN Denver 39.86 -104.67; HNL Honolulu 21.32 -157.92;
  LAS Las Vegas 36.08 -115.15; LAX Los Angeles 33.94 -118.41; PDX Portland 45.59 -122.6; PHX Phoenix 33.43 -112.01;
  SAN San Diego 32.73 -117.19; SEA Seattle 47.45 -122.31; SFO San Francisco 37.62 -122.38; SJC San Jose 37.36 -121.93;
  SLC Salt Lake City 40.79 -111.98; SMF Sacramento 38.7 -121.59
VN AS apac: DAD Da Nang 16.04 108.2; HAN Hanoi 21.22 105.81; SGN Ho Chi Minh City 10.82 106.65
ZA AF afr: CPT Cape Town -33.96 18.6; DUR Durban -29.61 31.12; JNB Johannesburg -26.13 28.25
ZM AF afr: LUN Lusaka -15.33 28.45
ZW AF afr: HRE Harare -17.93 31.09
`;

let parsed: ReadonlyMap<string, Colo> | undefined;

/** All colos that are known, by their codes; read from the table when first asked for. */
export function allColos(): ReadonlyMap<string, Colo> {
  parsed ??= new Map(
    TABLE.trim()
      .split(/\n(?! )/u)
      .flatMap(parseCountry),
  );
  return parsed;
}

/** The colo with a code, in capitals; undefined for one that is not known. */
export function findColo(code: string): Colo | undefined {
  return allColos().get(code);
}

function parseCountry(text: string): [string, Colo][] {
  const [head = "", rows = ""] = text.split(": ");
  const [country = "", continent, region] = head.split(" ");
  return rows.split(/;\s+/u).map((row) => {
    const { code = "", city = "", latitude, longitude } = ROW.exec(row)?.groups ?? {};
    const place = {
      continent: continent as Continent,
      region: region as Region,
      latitude: Number(latitude),
      longitude: Number(longitude),
    };
    return [code, { code, city, country, ...place }];
  });
}

const ROW = /^(?<code>\S+) (?<city>.+) (?<latitude>\S+) (?<longitude>\S+)$/u;

const EARTH_RADIUS_KM = 6371;

/** How far two places are from each other over the surface of the earth, taken for a sphere (the haversine formula). */
export function distanceKm(a: Pick<Colo, "latitude" | "longitude">, b: Pick<Colo, "latitude" | "longitude">): number {
  const [latitudeA, latitudeB] = [toRadians(a.latitude), toRadians(b.latitude)];
  const height = Math.sin((latitudeB - latitudeA) / 2) ** 2;
  const width = Math.sin(toRadians(b.longitude - a.longitude) / 2) ** 2;
  const chord = height + Math.cos(latitudeA) * Math.cos(latitudeB) * width;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.sqrt(Math.min(1, chord)));
}

function toRadians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}
