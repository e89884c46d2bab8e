"""The Odds API's names for football-data.co.uk's leagues, where it has one."""

from __future__ import annotations

DIVISIONS = {
    "E0": ("soccer_epl", "EPL"),
    "E1": ("soccer_efl_champ", "Championship"),
    "E2": ("soccer_england_league1", "League 1"),
    "E3": ("soccer_england_league2", "League 2"),
    "EC": ("football_data_ec", "National League - England"),
    "SC0": ("soccer_spl", "Premiership - Scotland"),
    "SC1": ("football_data_sc1", "Championship - Scotland"),
    "SC2": ("football_data_sc2", "League One - Scotland"),
    "SC3": ("football_data_sc3", "League Two - Scotland"),
    "D1": ("soccer_germany_bundesliga", "Bundesliga - Germany"),
    "D2": ("soccer_germany_bundesliga2", "Bundesliga 2 - Germany"),
    "I1": ("soccer_italy_serie_a", "Serie A - Italy"),
    "I2": ("soccer_italy_serie_b", "Serie B - Italy"),
    "SP1": ("soccer_spain_la_liga", "La Liga - Spain"),
    "SP2": ("soccer_spain_segunda_division", "La Liga 2 - Spain"),
    "F1": ("soccer_france_ligue_one", "Ligue 1 - France"),
    "F2": ("soccer_france_ligue_two", "Ligue 2 - France"),
    "N1": ("soccer_netherlands_eredivisie", "Dutch Eredivisie"),
    "B1": ("soccer_belgium_first_div", "Belgium First Div"),
    "P1": ("soccer_portugal_primeira_liga", "Primeira Liga - Portugal"),
    "T1": ("soccer_turkey_super_league", "Turkey Super League"),
    "G1": ("soccer_greece_super_league", "Super League - Greece"),
}
COUNTRIES = {
    "Argentina": ("soccer_argentina_primera_division", "Primera División - Argentina"),
    "Austria": ("soccer_austria_bundesliga", "Austrian Football Bundesliga"),
    "Brazil": ("soccer_brazil_campeonato", "Brazil Série A"),
    "China": ("soccer_china_superleague", "Super League - China"),
    "Denmark": ("soccer_denmark_superliga", "Denmark Superliga"),
    "Finland": ("soccer_finland_veikkausliiga", "Veikkausliiga - Finland"),
    "Ireland": ("soccer_league_of_ireland", "League of Ireland"),
    "Japan": ("soccer_japan_j_league", "J League"),
    "Mexico": ("soccer_mexico_ligamx", "Liga MX"),
    "Norway": ("soccer_norway_eliteserien", "Eliteserien - Norway"),
    "Poland": ("soccer_poland_ekstraklasa", "Ekstraklasa - Poland"),
    "Russia": ("soccer_russia_premier_league", "Premier League - Russia"),
    "Sweden": ("soccer_sweden_allsvenskan", "Allsvenskan - Sweden"),
    "Switzerland": ("soccer_switzerland_superleague", "Swiss Superleague"),
    "USA": ("soccer_usa_mls", "MLS"),
}


def league_of(country: str | None, league: str) -> tuple[str, str]:
    """Return a sport's key and title; `football_data_<league>` where The Odds API has no name.

    >>> league_of(None, "EC")[0], league_of("Romania", "Liga 1")[0]
    ('football_data_ec', 'football_data_romania_liga_1')
    """
    known = COUNTRIES.get(country) if country else DIVISIONS.get(league)
    if known:
        return known
    name = " ".join(part for part in (country, league) if part)
    slug = "_".join("".join(c if c.isalnum() else " " for c in name.casefold()).split())
    return f"football_data_{slug}"[:80], name[:120]
