exception Refused {
  1: string why
}

struct Order {
  1: i64 id
  2: string name
  3: list<string> notes
  4: map<string, double> prices
  5: bool paid
  6: optional binary image
}

service Stock {
  Order get(1: i64 id, 2: string name)
  list<Order> all(1: i32 count)
  void put(1: Order order) throws (1: Refused refused)
  oneway void note(1: string text)
  string fail(1: string why)
  i64 slow(1: string why)
}

service Later extends Stock {
  string missing(1: string why)
}
