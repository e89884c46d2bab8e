# ProTipp's edge on Varnish 7 with xkey: public answers kept as long as they say, purged by tag,
# stale while they are fetched anew, and stale while the origin is down. Nothing else is kept.
#
# backend.vcl beside it says where the origin is and who may purge. Start it with
# `-p http_gzip_support=off`: bodies come encoded, br too, and are kept as they come.
vcl 4.1;

import purge;
import std;
import var;
import xkey;

include "backend.vcl";

sub vcl_recv {
    if (req.restarts == 0) {
        unset req.http.X-Edge-Fresh;
        unset req.http.X-Edge-Stale;
        if (req.method == "PURGE") {
            call allow_purge;
        }
        # Varnish adds the address of whoever connects; the proxy before us said it better.
        set req.http.X-Forwarded-For = regsub(req.http.X-Forwarded-For, ", [^,]+$", "");
    }
    if (req.url == "/edge-health") {
        return (synth(200, "well"));
    }
    if (req.url == "/edge-ready") {
        call tell_readiness;
    }
    if (req.method == "PURGE") {
        call forget;
    }
    # What nothing stale can stand in for is asked whatever the last probe said.
    if (req.method != "GET" && req.method != "HEAD") {
        set req.backend_hint = straight;
        return (pass);
    }
    if (req.http.Authorization || req.http.Cookie ~ "(^|; *)sessionid=") {
        set req.backend_hint = straight;
        return (pass);  # somebody in particular asks
    }
    set req.grace = 3650d;  # no limit but the answer's own; a restart keeps what was set before
    if (req.http.X-Edge-Fresh) {
        set req.grace = 0s;
    }
    if (req.http.X-Edge-Stale) {
        set req.backend_hint = straight;
    }
    call choose_encoding;
    return (hash);
}

# One variant an encoding, and of the encodings the smallest.
sub choose_encoding {
    if (req.http.Accept-Encoding ~ "(^|[, ])br($|[,; ])") {
        set req.http.Accept-Encoding = "br";
    } elsif (req.http.Accept-Encoding ~ "(^|[, ])zstd($|[,; ])") {
        set req.http.Accept-Encoding = "zstd";
    } elsif (req.http.Accept-Encoding ~ "(^|[, ])gzip($|[,; ])") {
        set req.http.Accept-Encoding = "gzip";
    } else {
        unset req.http.Accept-Encoding;
    }
}

# Well, and it has met the origin: one that starts anew waits for that, and one that holds answers
# stays ready when the origin is gone, so that they are given out stale.
sub tell_readiness {
    if (std.healthy(origin)) {
        var.global_set("met", "yes");
    }
    if (var.global_get("met") == "yes") {
        return (synth(200, "ready"));
    }
    return (synth(503, "The origin was not met yet"));
}

# --- purges ------------------------------------------------------------------------------------

sub allow_purge {
    # A second address means that a proxy handed it on: then its sender is a stranger.
    if (client.ip !~ may_purge || req.http.X-Forwarded-For ~ ",") {
        return (synth(403, "Not allowed to purge"));
    }
}

sub forget {
    if (req.http.xkey-purge) {
        return (synth(200, "Removed " + xkey.purge(req.http.xkey-purge)));
    }
    if (req.http.xkey-softpurge) {
        return (synth(200, "Expired " + xkey.softpurge(req.http.xkey-softpurge)));
    }
    if (req.http.purge-all) {
        ban("obj.status != 0");
        return (synth(200, "Removed all"));
    }
    if (req.url ~ "\*$") {
        ban("obj.http.X-Edge-Url ~ ^" + regsuball(
            regsub(req.url, "\*$", ""), "([][().*+?{}|^$\\])", "\\\1"));
        return (synth(200, "Removed all below"));
    }
    return (hash);
}

sub forget_one {
    if (req.http.purge-soft) {
        set req.http.X-Edge-Count = purge.soft(0s);
        return (synth(200, "Expired " + req.http.X-Edge-Count));
    }
    set req.http.X-Edge-Count = purge.hard();
    return (synth(200, "Removed " + req.http.X-Edge-Count));
}

# --- what is the same answer -------------------------------------------------------------------

sub vcl_hash {
    # Without the host: the site has one content, and no made-up host may fill the memory.
    hash_data(req.url);
    return (lookup);
}

sub vcl_hit {
    if (req.method == "PURGE") {
        call forget_one;
    }
    # Older than its stale-while-revalidate: then people wait for a new one, while there is one.
    if (obj.ttl < 0s && !req.http.X-Edge-Stale && !req.http.X-Edge-Fresh
        && std.healthy(req.backend_hint)
        && obj.ttl + std.duration(obj.http.X-Edge-SWR, 0s) < 0s) {
        set req.http.X-Edge-Fresh = "1";
        return (restart);
    }
    return (deliver);
}

sub vcl_miss {
    if (req.method == "PURGE") {
        call forget_one;
    }
}

# --- what is kept, and for how long ------------------------------------------------------------

sub vcl_backend_response {
    if (beresp.status >= 500) {
        if (bereq.is_bgfetch) {
            return (abandon);  # the stale one stays
        }
        if ((bereq.method == "GET" || bereq.method == "HEAD") && !bereq.http.X-Edge-Stale) {
            if (bereq.retries < 1) {
                return (retry);
            }
            # To deliver it would push out what is kept: first vcl_synth looks for that.
            return (abandon);
        }
        set beresp.ttl = 0s;
        set beresp.grace = 0s;
        set beresp.uncacheable = true;
        return (deliver);
    }
    call refuse_private;
    if (beresp.http.CDN-Cache-Control ~ "max-age=[0-9]+") {
        set beresp.ttl = std.duration(
            regsub(beresp.http.CDN-Cache-Control, "^.*max-age=([0-9]+).*$", "\1s"), 0s);
    }
    set beresp.http.X-Edge-Rules = beresp.http.CDN-Cache-Control + "," + beresp.http.Cache-Control;
    set beresp.http.X-Edge-SWR = "0s";
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (beresp.http.X-Edge-Rules ~ "stale-while-revalidate=[0-9]+") {
        set beresp.http.X-Edge-SWR = regsub(
            beresp.http.X-Edge-Rules, "^.*?stale-while-revalidate=([0-9]+).*$", "\1s");
        set beresp.grace = std.duration(beresp.http.X-Edge-SWR, 0s);
    }
    if (beresp.http.X-Edge-Rules ~ "stale-if-error=[0-9]+") {
        set beresp.grace = beresp.grace + std.duration(regsub(
            beresp.http.X-Edge-Rules, "^.*?stale-if-error=([0-9]+).*$", "\1s"), 0s);
    } elsif (beresp.http.Cache-Control ~ "immutable") {
        set beresp.grace = 7d;
    }
    unset beresp.http.X-Edge-Rules;
    set beresp.http.xkey = beresp.http.Surrogate-Key;
    set beresp.http.X-Edge-Url = bereq.url;
    return (deliver);
}

# Nothing is kept because of its path: an answer says itself that it is for everybody, or it is not.
sub refuse_private {
    if (beresp.http.Set-Cookie
        || beresp.http.Vary ~ "(?i)cookie|authorization|\*"
        || beresp.http.Cache-Control !~ "(?i)(^|[, ])public($|[, ])"
        || beresp.http.Cache-Control ~ "(?i)private|no-store"
        || beresp.http.CDN-Cache-Control ~ "(?i)private|no-store"
        || (beresp.status != 200 && beresp.status != 301 && beresp.status != 308
            && beresp.status != 404 && beresp.status != 410)) {
        set beresp.ttl = 60s;  # for so long nobody waits in line for it
        set beresp.uncacheable = true;
        return (deliver);
    }
}

sub vcl_backend_error {
    if (bereq.retries < 2 && (bereq.method == "GET" || bereq.method == "HEAD")) {
        return (retry);
    }
    if (bereq.is_bgfetch || !bereq.http.X-Edge-Stale) {
        return (abandon);
    }
}

# --- what browsers get -------------------------------------------------------------------------

sub vcl_deliver {
    if (obj.uncacheable) {
        set req.http.X-Edge-Did = "edge; fwd=bypass";
    } elsif (obj.hits > 0) {
        set req.http.X-Edge-Did = "edge; hit; ttl=" + regsub(obj.ttl, "\..*$", "");
    } else {
        set req.http.X-Edge-Did = "edge; fwd=uri-miss; stored";
    }
    if (resp.http.Cache-Status) {
        set resp.http.Cache-Status = resp.http.Cache-Status + ", " + req.http.X-Edge-Did;
    } else {
        set resp.http.Cache-Status = req.http.X-Edge-Did;
    }
    unset resp.http.xkey;
    unset resp.http.Surrogate-Key;
    unset resp.http.CDN-Cache-Control;
    unset resp.http.X-Edge-SWR;
    unset resp.http.X-Edge-Url;
    unset resp.http.X-Varnish;
    unset resp.http.Via;
    return (deliver);
}

sub vcl_synth {
    if (resp.status == 503 && !req.http.X-Edge-Stale && req.url != "/edge-ready"
        && (req.method == "GET" || req.method == "HEAD")) {
        unset req.http.X-Edge-Fresh;
        set req.http.X-Edge-Stale = "1";  # anything old is better, if there is anything
        return (restart);
    }
    set resp.http.Content-Type = "text/plain; charset=utf-8";
    set resp.http.Cache-Control = "no-store";
    synthetic(resp.reason + {"
"});
    return (deliver);
}
