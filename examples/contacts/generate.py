"""Writes contacts.csv, expected.csv and expected.json: made-up contacts with the mess of real ones.

It always writes the same, byte for byte. Nobody in it is real: names are colours with trees or minerals, domains are those
reserved for examples, phone numbers come from ranges reserved for fiction where a country has such.

It knows the clean value of everything before it makes a mess of it, so the expected files are a second opinion on what a
cleaner should find, not a copy of what ours does.
"""

import json
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

HERE = Path(__file__).parent
SEED = 20250317

HEADER = ["Contact ID", "Name", "E-mail", "Phone", "Country", "City", "Order date", "Amount", "Note"]

CONTACTS = 1010
REPEATED_ORDERS = 42
NEW_ORDERS = 78
FAILURES = {
    "malformed-row": 24,
    "missing-contact": 18,
    "invalid-email": 16,
    "invalid-phone": 18,
    "unknown-country": 8,
    "bad-date": 12,
    "ambiguous-date": 6,
    "bad-amount": 12,
    "missing-currency": 6,
    "unreadable-text": 8,
}

COLOURS = """Amber Azure Beige Carmine Cerise Cobalt Copper Crimson Ecru Fuchsia Indigo Khaki Lilac Magenta Maroon Mauve Ochre
    Periwinkle Puce Russet Saffron Sepia Slate Taupe Teal Turquoise Umber Vermilion Viridian Xanthic""".split()
THINGS = """Acacia Alder Aspen Balsa Baobab Basalt Cedar Cypress Dolomite Ebony Feldspar Gneiss Granite Gypsum Hawthorn Hemlock
    Hornbeam Juniper Larch Linden Malachite Mangrove Mica Obsidian Poplar Quartz Rowan Schist Sequoia Spruce Sycamore
    Tamarack Teak Travertine Willow""".split()
NOTES = ["call after six", "gift wrap, please", "crème brûlée set", "größere Menge", "señal pagada", "second floor", "VIP", "8\" shelf"]

# Code: names, calling code, trunk prefix, how a national number is built (a digit, or `d` for any), currency, cities, weight.
COUNTRIES = {
    "US": (["US", "USA", "U.S.A.", "United States", "us"], "1", "1", ["202 555 01dd", "415 555 01dd", "303 555 01dd"], "USD", ["Denver", "Saint Paul", "Baton Rouge"], 14),
    "GB": (["GB", "UK", "U.K.", "United Kingdom", "Great Britain", "gb"], "44", "0", ["20 7946 0ddd", "7700 900 ddd", "161 496 0ddd"], "GBP", ["London", "Leeds", "Stoke-on-Trent"], 12),
    "DE": (["DE", "Germany", "Deutschland", "GERMANY", "deu"], "49", "0", ["30 23125 ddd", "69 90009 ddd", "40 66969 ddd", "221 4710 ddd"], "EUR", ["Köln", "München", "Berlin", "Düsseldorf"], 12),
    "FR": (["FR", "France", "FRANCE", "fr"], "33", "0", ["1 99 00 dd dd", "2 61 91 dd dd", "6 39 98 dd dd"], "EUR", ["Besançon", "Orléans", "Lyon"], 9),
    "ES": (["ES", "Spain", "España", "es"], "34", "", ["910 555 ddd", "930 555 ddd"], "EUR", ["Málaga", "Córdoba", "Madrid"], 6),
    "IT": (["IT", "Italy", "Italia"], "39", "", ["06 5550 dddd", "02 5550 dddd"], "EUR", ["Forlì", "Torino"], 6),
    "NL": (["NL", "Netherlands", "The Netherlands", "Nederland"], "31", "0", ["20 555 0ddd", "10 555 0ddd"], "EUR", ["Utrecht", "Delft"], 5),
    "AT": (["AT", "Austria", "Österreich"], "43", "0", ["1 5550 dddd"], "EUR", ["Sankt Pölten", "Linz"], 4),
    "CH": (["CH", "Switzerland", "Schweiz", "Suisse"], "41", "0", ["44 555 0d dd", "22 555 0d dd"], "CHF", ["Zürich", "Genève", "Bern"], 5),
    "SE": (["SE", "Sweden", "Sverige"], "46", "0", ["8 465 004 dd", "31 390 06 dd"], "SEK", ["Malmö", "Göteborg"], 4),
    "DK": (["DK", "Denmark", "Danmark"], "45", "", ["55 50 0d dd"], "DKK", ["Ærø", "Odense"], 3),
    "PL": (["PL", "Poland", "Polska"], "48", "", ["22 555 0d dd", "12 555 0d dd"], "PLN", ["Kraków", "Gdańsk"], 4),
    "IE": (["IE", "Ireland", "Éire"], "353", "0", ["20 910 dddd", "20 914 dddd"], "EUR", ["Cork", "Dún Laoghaire"], 3),
    "BR": (["BR", "Brazil", "Brasil"], "55", "0", ["11 5550 dddd", "21 5550 dddd"], "BRL", ["São Paulo", "Maceió"], 4),
    "CA": (["CA", "Canada", "CANADA"], "1", "1", ["613 555 01dd", "604 555 01dd"], "CAD", ["Ottawa", "Trois-Rivières"], 4),
    "AU": (["AU", "Australia"], "61", "0", ["2 5550 dddd", "2 7010 dddd", "491 570 ddd"], "AUD", ["Perth", "Hobart"], 4),
    "JP": (["JP", "Japan", "日本"], "81", "0", ["3 5555 0ddd"], "JPY", ["Sapporo", "Nara"], 3),
    "IN": (["IN", "India"], "91", "0", ["22 5550 0ddd"], "INR", ["Pune", "Kochi"], 3),
}
SHARED_CALLING_CODE = {"US", "CA"}
MONTH_FIRST = {"US"}
WITHOUT_CENTS = {"JPY"}
SIGNS = {
    "USD": "$", "CAD": "$", "AUD": "$", "EUR": "€", "GBP": "£", "CHF": "Fr.", "SEK": "kr", "DKK": "kr.", "PLN": "zł", "BRL": "R$",
    "JPY": "¥", "INR": "₹",
}
MONTHS = "January February March April May June July August September October November December".split()
MONTHS_DE = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()


class Contact:
    """Someone who ordered something, with every value as it should be."""

    def __init__(self, rng, names, phones):
        self.country = rng.choices(list(COUNTRIES), [country[-1] for country in COUNTRIES.values()])[0]
        _, self.calling_code, self.trunk, patterns, self.currency, cities, _ = COUNTRIES[self.country]
        while True:
            colour, thing = rng.choice(COLOURS), rng.choice(THINGS)
            if (colour, thing) not in names:
                break
        names.add((colour, thing))
        self.first, self.last = colour, thing
        self.city = rng.choice(cities)
        domain = rng.choice(["example.com", "example.org", "example.net", "mail.example.com"])
        self.email = f"{colour}.{thing}@{domain}".lower()
        while True:
            self.groups = "".join(rng.choice("0123456789") if c == "d" else c for c in rng.choice(patterns)).split()
            if self.e164 not in phones:
                break
        phones.add(self.e164)
        reach = rng.random()
        self.has_email = reach > 0.12
        self.has_phone = reach < 0.90
        self.key = f"email:{self.email}" if self.has_email else f"phone:{self.e164}"

    @property
    def e164(self):
        return f"+{self.calling_code}{''.join(self.groups)}"


class Order:
    """A day and an amount, in hundredths, or in whole units of a currency without cents."""

    def __init__(self, contact, rng):
        self.day = date(2024, 1, 1) + timedelta(days=rng.randrange(730))
        self.currency = contact.currency
        self.cents = 0 if self.currency in WITHOUT_CENTS else rng.choice([0, 0, 50, 95, 99, rng.randrange(100)])
        self.whole = int(10 ** rng.uniform(0.7, 3.6)) * (100 if self.currency in WITHOUT_CENTS else 1)
        self.negative = rng.random() < 0.02

    @property
    def minor(self):
        minor = self.whole if self.currency in WITHOUT_CENTS else self.whole * 100 + self.cents
        return -minor if self.negative else minor


def messy_name(contact, rng):
    first, last = contact.first, contact.last
    return rng.choices(
        [
            f"{first} {last}",
            f"{first} {last}".upper(),
            f"{first} {last}".lower(),
            f"{last}, {first}",
            f"{last.upper()}, {first.upper()}",
            f"  {first}   {last} ",
            f"{first}\u00a0{last}",
        ],
        [8, 2, 2, 3, 1, 2, 1],
    )[0]


def messy_email(contact, rng):
    mailbox, domain = contact.email.split("@")
    return rng.choices(
        [
            contact.email,
            contact.email.upper(),
            f"{contact.first}.{contact.last}@{domain}",
            f" {contact.email} ",
            f"mailto:{contact.email}",
            f"{contact.first} {contact.last} <{contact.email}>",
            f"{mailbox}(at){domain}",
            f"{mailbox} @ {domain}",
            f"{contact.email};",
        ],
        [10, 2, 4, 2, 1, 1, 1, 1, 1],
    )[0]


def messy_phone(contact, rng, with_country):
    groups, code, trunk = contact.groups, contact.calling_code, contact.trunk
    compact = "".join(groups)
    separator = rng.choice([" ", "-", ".", " ", "\u00a0", "\u2011"])
    international = [
        f"+{code}{compact}",
        f"+{code} {' '.join(groups)}",
        f"+{code}-{'-'.join(groups)}",
        f"00{code} {' '.join(groups)}",
        f"00{code}{compact}",
    ]
    if trunk == "0":
        international.append(f"+{code} (0){groups[0]} {' '.join(groups[1:])}")
    national = [
        f"({trunk if trunk == '0' else ''}{groups[0]}) {'-'.join(groups[1:])}",
        f"{trunk if trunk == '0' else ''}{separator.join(groups)}",
        f"{trunk}{compact}",
        f"Tel. {trunk if trunk == '0' else ''}{groups[0]}/{' '.join(groups[1:])}",
    ]
    styles = international + national * 2 if with_country else international
    extension = rng.choice([" ext. 12", " x7", ", ext 204", " #31"]) if rng.random() < 0.05 else ""
    return rng.choice(styles) + extension


def messy_country(contact, rng):
    return rng.choice(COUNTRIES[contact.country][0])


def messy_date(day, country, rng):
    """`country` is what a reader can know of it; without one, only what cannot be mistaken."""
    y, m, d = day.year, day.month, day.day
    styles = [
        day.isoformat(),
        day.isoformat(),
        f"{y}/{m}/{d}",
        f"{day.isoformat()}T09:{d:02}:00Z",
        f"{y}{m:02}{d:02}",
        f"{d:02}.{m:02}.{y}",
        f"{d}.{m}.{y % 100:02}",
        f"{d} {MONTHS[m - 1]} {y}",
        f"{d:02}-{MONTHS[m - 1][:3]}-{y % 100:02}",
        f"{MONTHS[m - 1]} {d}, {y}",
        f"{d}. {MONTHS_DE[m - 1]} {y}",
        str((day - date(1899, 12, 30)).days),
    ]
    if country in MONTH_FIRST:
        styles += [f"{m:02}/{d:02}/{y}", f"{m}/{d}/{y % 100:02}"] * 3
    elif country and country != "CA":
        styles += [f"{d:02}/{m:02}/{y}", f"{d}/{m}/{y % 100:02}"] * 3
    return rng.choice(styles)


def grouped(whole, separator):
    return f"{whole:,}".replace(",", separator)


def messy_amount(order, country, rng):
    whole, cents, currency = order.whole, order.cents, order.currency
    sign = SIGNS[currency]
    if currency in WITHOUT_CENTS:
        numbers = [f"{whole}", grouped(whole, ",")]
    else:
        numbers = [
            f"{whole}.{cents:02}",
            f"{whole},{cents:02}",
            f"{grouped(whole, ',')}.{cents:02}",
            f"{grouped(whole, '.')},{cents:02}",
            f"{grouped(whole, ' ')},{cents:02}",
            f"{grouped(whole, chr(0x202F))},{cents:02}",
        ]
        if currency == "CHF":
            numbers += [f"{grouped(whole, chr(39))}.{cents:02}"] * 3
        if cents == 0:
            numbers += [f"{whole}", grouped(whole, "."), f"{whole},-"]
        elif cents % 10 == 0:
            numbers += [f"{whole}.{cents // 10}", f"{whole},{cents // 10}"]
    number = rng.choice(numbers)
    if country:
        number = rng.choice([number, number, f"{sign}{number}", f"{number} {sign}", f"{number} {currency}", f"{currency} {number}"])
    else:
        number = rng.choice([f"{number} {currency}", f"{currency} {number}"])
    return f"-{number}" if order.negative else number


def mojibake(text, times=1):
    for _ in range(times):
        text = text.encode("utf-8").decode("cp1252")
    return text


class Sheet:
    """The lines of the file, and what should come of them."""

    def __init__(self, rng):
        self.rng = rng
        self.number = 0
        self.rows = []

    def good(self, contact, order, sparse=True):
        """A messy row that a cleaner can read. Returns what it holds."""
        rng = self.rng
        self.number += 1
        # One country in twenty-five is missing; a phone number in international form may tell it.
        known = not sparse or rng.random() > 0.04
        told = known or (contact.has_phone and contact.country not in SHARED_CALLING_CODE)
        country = contact.country if told else None
        has_day = order and (not sparse or rng.random() > 0.04)
        name = "" if sparse and rng.random() < 0.02 else f"{contact.first} {contact.last}"
        city = "" if sparse and rng.random() < 0.06 else contact.city
        fields = [
            f"C-{self.number:05}",
            messy_name(contact, rng) if name else "",
            messy_email(contact, rng) if contact.has_email else rng.choice(["", "", "n/a", "-"]),
            messy_phone(contact, rng, known) if contact.has_phone else rng.choice(["", "", "NULL", "-"]),
            messy_country(contact, rng) if known else "",
            city,
            messy_date(order.day, country, rng) if has_day else "",
            messy_amount(order, country, rng) if order else "",
            rng.choice(NOTES) if rng.random() < 0.08 else "",
        ]
        clean = {
            "dedup_key": contact.key,
            "name": name,
            "email": contact.email if contact.has_email else "",
            "phone": contact.e164 if contact.has_phone else "",
            "country": country or "",
            "city": city,
            "ordered_on": order.day.isoformat() if has_day else "",
            "amount": decimal(order.minor, order.currency) if order else "",
            "currency": order.currency if order else "",
        }
        self.rows.append({"fields": fields, "clean": clean, "minor": order.minor if order else 0})

    def bad(self, code, contact, order, variant):
        """A row with one thing in it that cannot be read for certain."""
        rng = self.rng
        self.good(contact, order, sparse=False)
        fields, raw = self.rows[-1]["fields"], None
        if code == "malformed-row":
            raw = [
                lambda: join(fields[: rng.randrange(2, 8)]),
                lambda: join(fields) + ",moved,2025",
                lambda: join(fields[:1]) + f',"{contact.first} {contact.last},' + join(fields[2:6]) + ",,,",
                lambda: join(fields[:7]) + ",12,50,",
                lambda: join(fields[:1]) + f',"{contact.first}" {contact.last},' + join(fields[2:]),
                lambda: join(HEADER),
            ][variant % 6]()
        elif code == "missing-contact":
            fields[2], fields[3] = rng.choice(["", "n/a", "-"]), rng.choice(["", "NULL", "unknown"])
        elif code == "invalid-email":
            mailbox, domain = contact.email.split("@")
            fields[2] = [f"{mailbox}.{domain}", f"{mailbox}@@{domain}", f"{mailbox}@example", f"{mailbox} {domain}",
                         f"{mailbox}@example,com", f"@{domain}", f"{mailbox.replace('.', '..')}@{domain}", "ask at the desk"][variant % 8]
        elif code == "invalid-phone":
            fields[3] = ["12", "000 000 0000", "4.42079E+11", "555-01", "see note", "+999 123 4567", "5550123 or 5550124",
                         f"+{contact.calling_code} {''.join(contact.groups)}012345"][variant % 8]
            if variant % 8 == 3:
                fields[4] = "US"
            if variant >= 16:
                fields[3], fields[4] = "".join(contact.groups), ""
        elif code == "unknown-country":
            fields[4] = ["Atlantis", "Germnay", "XX", "EU", "Utopia", "Untied Kingdom", "Nowhere", "North"][variant % 8]
        elif code == "bad-date":
            fields[6] = ["31.02.2025", "2025-13-01", "29 Feb 2025", "soon", "00.00.0000", "Q3 2025", "1825-03-17", "2025-04-31",
                         "yesterday", "17.03.", "32.01.2025", "March 2025"][variant % 12]
        elif code == "ambiguous-date":
            day, month = rng.sample(range(1, 13), 2)
            fields[4] = "Canada"
            fields[3], fields[6] = "", f"{day:02}/{month:02}/{order.day.year}"
            fields[2] = contact.email
        elif code == "bad-amount":
            fields[7] = ["free", "12,34,56.7.8", "1O.50", "12 shells", "12..50", "€12.00 GBP", "1.23.456", "tbd", "12.5 or 13", "1,234.567",
                         "#VALUE!", "99999999999999999999"][variant % 12]
        elif code == "missing-currency":
            fields[2], fields[3], fields[4], fields[6] = contact.email, "", "", order.day.isoformat()
            fields[7] = ["12.50", "99,95 kr", "1200 ¥"][variant % 3]
        elif code == "unreadable-text":
            fields[[1, 5][variant % 2]] = ["Ame\ufffdthyst", "K\ufffdln", "Cr\ufffdme", "Malm\ufffd"][variant % 4]
        self.rows[-1] = {"fields": fields, "raw": raw, "clean": {"failure": code}}


def join(fields, separator=","):
    def quoted(field):
        if separator in field or '"' in field or (field and field != field.strip()):
            return '"' + field.replace('"', '""') + '"'
        return field

    return separator.join(map(quoted, fields))


def encode(row, rng):
    """One line of the file, some of them as other programs and other decades wrote them."""
    if row.get("raw"):
        return row["raw"].encode("utf-8")
    fields = row["fields"]
    luck = rng.random()
    readable = "failure" not in row["clean"]
    if readable and luck < 0.06:
        fields[5] = mojibake(fields[5], rng.choice([1, 1, 1, 2]))
    elif readable and luck < 0.12:
        try:
            return join(fields).encode("cp1252")
        except UnicodeEncodeError:
            return join(fields).encode("utf-8")
    separator = ";" if 0.12 <= luck < 0.15 else "\t" if 0.15 <= luck < 0.16 else ","
    line = join(fields, separator).encode("utf-8")
    return line + b"\r" if 0.16 <= luck < 0.19 else line


def main():
    rng = random.Random(SEED)
    names, phones = set(), set()
    sheet = Sheet(rng)

    contacts = [Contact(rng, names, phones) for _ in range(CONTACTS)]
    orders = []
    for contact in contacts:
        order = Order(contact, rng) if rng.random() > 0.04 else None
        sheet.good(contact, order)
        orders.append((contact, order))
    for contact, order in rng.sample([pair for pair in orders if pair[1]], REPEATED_ORDERS):
        sheet.good(contact, order)
    for contact, _ in rng.sample(orders, NEW_ORDERS):
        sheet.good(contact, Order(contact, rng))
    for code, count in FAILURES.items():
        for variant in range(count):
            contact = Contact(rng, set(), phones)
            sheet.bad(code, contact, Order(contact, rng), variant)
    rng.shuffle(sheet.rows)

    lines = [join(HEADER).encode("utf-8")] + [encode(row, rng) for row in sheet.rows]
    (HERE / "contacts.csv").write_bytes(b"\n".join(lines) + b"\n")
    columns = ["failure", "dedup_key", "name", "email", "phone", "country", "city", "ordered_on", "amount", "currency"]
    table = [["line", *columns]]
    table += [[str(line), *(row["clean"].get(column, "") for column in columns)] for line, row in enumerate(sheet.rows, start=2)]
    (HERE / "expected.csv").write_text("".join(",".join(row) + "\n" for row in table), encoding="utf-8")
    (HERE / "expected.json").write_text(json.dumps(summary(sheet.rows), indent=2) + "\n", encoding="utf-8")


def summary(rows):
    failures = Counter(row["clean"]["failure"] for row in rows if "failure" in row["clean"])
    countries, rows_of = {}, Counter()
    totals, orders, repeated, seen = Counter(), Counter(), 0, set()
    for row in rows:
        clean = row["clean"]
        if "failure" in clean:
            continue
        key, currency = clean["dedup_key"], clean["currency"]
        countries[key] = countries.get(key) or clean["country"]
        rows_of[key] += 1
        if not currency:
            continue
        order = (key, clean["ordered_on"], clean["amount"], currency)
        if clean["ordered_on"] and order in seen:
            repeated += 1
            continue
        seen.add(order)
        orders[currency] += 1
        totals[currency] += row["minor"]
    return {
        "rows": len(rows),
        "succeeded": len(rows) - failures.total(),
        "failed": dict(sorted(failures.items())),
        "contacts": len(rows_of),
        "contacts_with_several_rows": sum(count > 1 for count in rows_of.values()),
        "repeated_orders": repeated,
        "contacts_by_country": dict(sorted(Counter(country or "unknown" for country in countries.values()).items())),
        "totals": {
            currency: {"orders": orders[currency], "amount": decimal(totals[currency], currency)} for currency in sorted(totals)
        },
    }


def decimal(minor, currency):
    return str(minor) if currency in WITHOUT_CENTS else f"{'-' * (minor < 0)}{abs(minor) // 100}.{abs(minor) % 100:02}"


if __name__ == "__main__":
    main()
