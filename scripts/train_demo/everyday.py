"""Three everyday phrases in each language, written for this project: far from the training texts, never trained on.

They show how the language model does on what people really type, beside its score on held-out software messages.
"""

from __future__ import annotations

from collections.abc import Mapping

PHRASES: Mapping[str, tuple[str, str, str]] = {
    "ar": ("صباح الخير", "أين محطة القطار؟", "الطقس جميل اليوم ونحن ذاهبون إلى البحر"),
    "bg": ("Добро утро", "Къде е гарата?", "Днес времето е хубаво и отиваме на море"),
    "cs": ("Dobré ráno", "Kde je nádraží?", "Dnes je hezké počasí a jedeme k moři"),
    "da": ("Godmorgen, hvordan går det?", "Hvor er banegården?", "Vejret er dejligt i dag, og vi tager til stranden"),
    "de": ("Guten Morgen", "Wo ist der Bahnhof?", "Heute ist das Wetter schön und wir fahren ans Meer"),
    "el": ("Καλημέρα", "Πού είναι ο σταθμός;", "Σήμερα ο καιρός είναι ωραίος και πάμε στη θάλασσα"),
    "en": ("Good morning", "Where is the train station?", "The weather is nice today and we are going to the sea"),
    "es": ("Buenos días", "¿Dónde está la estación?", "Hoy hace buen tiempo y vamos a la playa"),
    "fa": ("صبح بخیر", "ایستگاه قطار کجاست؟", "امروز هوا خوب است و ما به دریا می‌رویم"),
    "fi": ("Hyvää huomenta", "Missä on rautatieasema?", "Tänään on kaunis sää ja menemme rannalle"),
    "fr": ("Bonjour tout le monde", "Où est la gare ?", "Il fait beau aujourd’hui et nous allons à la mer"),
    "he": ("בוקר טוב", "איפה תחנת הרכבת?", "מזג האוויר יפה היום ואנחנו נוסעים לים"),
    "hi": ("सुप्रभात", "रेलवे स्टेशन कहाँ है?", "आज मौसम अच्छा है और हम समुद्र तट जा रहे हैं"),
    "hu": ("Jó reggelt", "Hol van a pályaudvar?", "Ma szép idő van, és megyünk a tengerhez"),
    "id": ("Selamat pagi", "Di mana stasiun kereta api?", "Hari ini cuacanya bagus dan kami pergi ke pantai"),
    "it": ("Buongiorno a tutti", "Dov’è la stazione?", "Oggi fa bel tempo e andiamo al mare"),
    "ja": ("おはようございます", "駅はどこですか", "今日は天気がいいので海に行きます"),
    "ko": ("안녕하세요", "기차역이 어디에 있나요?", "오늘은 날씨가 좋아서 바다에 가요"),
    "nb": ("God morgen, hvordan har du det?", "Hvor er togstasjonen?", "Været er fint i dag, og vi drar til stranden"),
    "nl": ("Goedemorgen", "Waar is het station?", "Het is vandaag mooi weer en we gaan naar zee"),
    "pl": ("Dzień dobry", "Gdzie jest dworzec?", "Dziś jest ładna pogoda i jedziemy nad morze"),
    "pt": ("Bom dia a todos", "Onde fica a estação?", "Hoje o tempo está bom e nós vamos à praia"),
    "ro": ("Bună dimineața", "Unde este gara?", "Astăzi vremea este frumoasă și mergem la mare"),
    "ru": ("Доброе утро", "Где находится вокзал?", "Сегодня хорошая погода, и мы едем на море"),
    "sv": ("God morgon", "Var ligger järnvägsstationen?", "Vädret är fint i dag och vi åker till havet"),
    "th": ("สวัสดีตอนเช้า", "สถานีรถไฟอยู่ที่ไหน", "วันนี้อากาศดีและเราจะไปทะเล"),
    "tr": ("Günaydın", "Tren istasyonu nerede?", "Bugün hava güzel ve denize gidiyoruz"),
    "uk": ("Доброго ранку", "Де знаходиться вокзал?", "Сьогодні гарна погода, і ми їдемо на море"),
    "vi": ("Chào buổi sáng", "Ga tàu ở đâu?", "Hôm nay thời tiết đẹp và chúng tôi đi biển"),
    "zh": ("早上好", "火车站在哪里？", "今天天气很好，我们去海边"),
}
