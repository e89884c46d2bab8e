"""Who plays and who quotes in the simulated market. The bookmakers are invented."""

from __future__ import annotations

from typing import NamedTuple


class House(NamedTuple):
    """A bookmaker: how much it keeps, and how many ticks it follows the market later."""

    key: str
    title: str
    margin: float
    lag_ticks: int


class League(NamedTuple):
    """A competition. `draw` is its usual probability of a draw; None where there is none."""

    key: str
    title: str
    draw: float | None
    total: float
    """The usual total line, in the sport's own points."""
    total_step: float
    spread_step: float
    teams: tuple[str, ...]


HOUSES = (
    House("kestrel", "Kestrel", 0.024, 0),
    House("fairdeal_ex", "Fairdeal Exchange", 0.012, 1),
    House("northbet", "Northbet", 0.036, 1),
    House("goldline", "Goldline", 0.041, 2),
    House("harboursports", "Harbour Sports", 0.045, 2),
    House("anchorbet", "Anchor Bet", 0.048, 3),
    House("threecastles", "Three Castles", 0.052, 4),
    House("redkite", "Red Kite", 0.055, 4),
    House("millstream", "Millstream", 0.060, 5),
    House("oldmarket", "Old Market", 0.066, 6),
    House("quayside", "Quayside", 0.072, 7),
    House("tallyho", "Tallyho", 0.078, 8),
)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


LEAGUES = (
    League(
        "soccer_epl",
        "EPL",
        0.26,
        2.5,
        0.5,
        0.5,
        _names(
            "Arsenal, Aston Villa, Bournemouth, Brentford, Brighton, Burnley, Chelsea, "
            "Crystal Palace, Everton, Fulham, Leeds United, Liverpool, Manchester City, "
            "Manchester United, Newcastle United, Nottingham Forest, Sunderland, Tottenham, "
            "West Ham, Wolves"
        ),
    ),
    League(
        "soccer_spain_la_liga",
        "La Liga",
        0.27,
        2.5,
        0.5,
        0.5,
        _names(
            "Alavés, Athletic Bilbao, Atlético Madrid, Barcelona, Celta Vigo, Espanyol, Getafe, "
            "Girona, Mallorca, Osasuna, Rayo Vallecano, Real Betis, Real Madrid, Real Sociedad, "
            "Sevilla, Valencia, Villarreal"
        ),
    ),
    League(
        "soccer_germany_bundesliga",
        "Bundesliga",
        0.25,
        3.0,
        0.5,
        0.5,
        _names(
            "Augsburg, Bayer Leverkusen, Bayern Munich, Borussia Dortmund, Eintracht Frankfurt, "
            "Freiburg, Hamburg, Heidenheim, Hoffenheim, Köln, Mainz 05, RB Leipzig, St. Pauli, "
            "Stuttgart, Union Berlin, Werder Bremen, Wolfsburg"
        ),
    ),
    League(
        "soccer_italy_serie_a",
        "Serie A",
        0.28,
        2.5,
        0.5,
        0.5,
        _names(
            "Atalanta, Bologna, Cagliari, Como, Fiorentina, Genoa, Inter Milan, Juventus, Lazio, "
            "Lecce, AC Milan, Napoli, Parma, Roma, Sassuolo, Torino, Udinese, Verona"
        ),
    ),
    League(
        "soccer_uefa_champs_league",
        "UEFA Champions League",
        0.24,
        2.5,
        0.5,
        0.5,
        _names(
            "Ajax, Arsenal, Atlético Madrid, Barcelona, Bayern Munich, Benfica, Borussia Dortmund, "
            "Celtic, Club Brugge, Galatasaray, Inter Milan, Juventus, Liverpool, Manchester City, "
            "Monaco, Napoli, Olympiacos, Paris Saint Germain, Porto, PSV, Real Madrid"
        ),
    ),
    League(
        "basketball_nba",
        "NBA",
        None,
        227.5,
        3.0,
        3.0,
        _names(
            "Atlanta Hawks, Boston Celtics, Brooklyn Nets, Charlotte Hornets, Chicago Bulls, "
            "Cleveland Cavaliers, Dallas Mavericks, Denver Nuggets, Detroit Pistons, "
            "Golden State Warriors, Houston Rockets, Indiana Pacers, LA Clippers, "
            "Los Angeles Lakers, Memphis Grizzlies, Miami Heat, Milwaukee Bucks, New York Knicks, "
            "Oklahoma City Thunder, Orlando Magic, Philadelphia 76ers, Phoenix Suns, Utah Jazz"
        ),
    ),
    League(
        "basketball_euroleague",
        "Euroleague",
        None,
        163.5,
        2.0,
        2.0,
        _names(
            "Anadolu Efes, Barcelona, Baskonia, Bayern Munich, Crvena Zvezda, Fenerbahce, "
            "Maccabi Tel Aviv, Monaco, Olimpia Milano, Olympiacos, Panathinaikos, Partizan, "
            "Real Madrid, Valencia, Virtus Bologna, Zalgiris Kaunas"
        ),
    ),
    League(
        "americanfootball_nfl",
        "NFL",
        None,
        44.5,
        2.0,
        2.0,
        _names(
            "Baltimore Ravens, Buffalo Bills, Chicago Bears, Cincinnati Bengals, Dallas Cowboys, "
            "Denver Broncos, Detroit Lions, Green Bay Packers, Houston Texans, Kansas City Chiefs, "
            "Los Angeles Rams, Miami Dolphins, Minnesota Vikings, New York Giants, "
            "Philadelphia Eagles, Pittsburgh Steelers, San Francisco 49ers, Seattle Seahawks"
        ),
    ),
    League(
        "icehockey_nhl",
        "NHL",
        None,
        6.5,
        0.5,
        1.0,
        _names(
            "Boston Bruins, Buffalo Sabres, Calgary Flames, Carolina Hurricanes, Colorado "
            "Avalanche, Dallas Stars, Detroit Red Wings, Edmonton Oilers, Florida Panthers, "
            "Minnesota Wild, Montréal Canadiens, New Jersey Devils, New York Rangers, "
            "Pittsburgh Penguins, Tampa Bay Lightning, Toronto Maple Leafs, Vegas Golden Knights"
        ),
    ),
    League(
        "tennis_atp_paris_masters",
        "ATP Paris Masters",
        None,
        22.5,
        1.0,
        1.5,
        _names(
            "A. Lindqvist, B. Okonkwo, C. Moreau, D. Petrović, E. Sandoval, F. Brandt, G. Halász, "
            "H. Takeda, I. Kovalenko, J. Whitfield, K. Nowak, L. Ferreira, M. Aydin, N. Dubois, "
            "O. Rinaldi, P. Svensson"
        ),
    ),
)
